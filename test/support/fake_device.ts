/**
 * A device that computes nothing. Its slots only remember which expert owns them; its plans want
 * experts that are given, and stall as `resolve.wgsl` does.
 */
import { assert, defined } from "../../src/base/assert.ts";
import { setBit, wordsOf } from "../../src/base/bits.ts";
import type { Matrix } from "../../src/base/matrix.ts";
import {
  type Bucket,
  type Form,
  type Guess,
  NONE,
  type Ops,
  type Plan,
  type RecordOptions,
  type Report,
  type Slots,
  type Speaker,
  type Weight,
} from "../../src/ops/ops.ts";
import type { Route } from "./drawn_routes.ts";

/** Which experts the token at a position wants of a layer. */
export type Routing = (position: number, layer: number) => Route;

export class FakeSlots implements Slots {
  readonly most: number;
  readonly bytes: number;
  readonly layers: number;
  readonly experts: number;
  readonly table: Uint32Array;
  readonly owners: Uint32Array;
  count: number;
  /** How often a slot lost its owner. */
  evictions = 0;
  writtenBytes = 0;
  /** Is called with all that is written. */
  onWrite: ((slot: number, offset: number, bytes: Uint8Array) => void) | null = null;
  /** What happened although it must not, in words. */
  readonly unsafe: string[] = [];

  constructor(count: number, bytes: number, layers: number, experts: number) {
    this.count = count;
    this.bytes = bytes;
    this.layers = layers;
    this.experts = experts;
    this.most = layers * experts;
    this.table = new Uint32Array(this.most).fill(NONE);
    this.owners = new Uint32Array(this.most).fill(NONE);
  }

  write(slot: number, offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    if (this.owners[slot] !== NONE) this.unsafe.push(`slot ${slot} is written while it has an owner`);
    if (slot >= this.count || offset + bytes.length > this.bytes) this.unsafe.push(`bytes fall beside slot ${slot}`);
    this.writtenBytes += bytes.length;
    this.onWrite?.(slot, offset, bytes);
  }

  own(slot: number, owner: number): void {
    if (owner === NONE && this.owners[slot] !== NONE) this.evictions++;
    this.owners[slot] = owner;
  }

  map(layer: number, expert: number, slot: number): void {
    this.table[layer * this.experts + expert] = slot;
  }

  async resize(count: number): Promise<void> {
    this.count = count;
  }
}

export interface FakeOptions {
  /** Is called when a slot serves an expert, which is given by number. */
  readonly onUse?: (slot: number, id: number) => void;
  /**
   * Whether reports guess the experts of the next two layers. Guesses about even layers are right;
   * those about odd layers name the experts of a token far ahead.
   */
  readonly guesses?: boolean;
}

/**
 * A plan in which the token at a position wants what `routing` says. `spent`: the time that its
 * runs took, to be subtracted when the scheduler is measured.
 */
export function fakePlan(
  form: Form,
  bucket: Bucket,
  slots: FakeSlots,
  routing: Routing,
  { onUse, guesses = false }: FakeOptions = {},
): Plan & { readonly spent: { ms: number } } {
  const { layers, experts, unsafe } = slots;
  const spent = { ms: 0 };
  const nothing = new Uint32Array(wordsOf(experts));
  const end = 2 * layers + 1;
  let wanted: Uint32Array[] = [];
  let guessed: Guess[] = [];
  let used: readonly number[] = [];
  const done = new Uint8Array(experts);
  /** The mark at which the next run may go on. */
  let at = 0;

  /** Takes note of what a layer wants. */
  function route(layer: number, position: number, count: number, marked: number): void {
    done.fill(0);
    if (count === 1) {
      const { experts: ids, set } = routing(position, layer);
      used = ids;
      if (marked > 0) wanted[layer] = set;
      return;
    }
    const all = new Set<number>();
    const set = new Uint32Array(wordsOf(experts));
    for (let t = 0; t < count; t++)
      for (const expert of routing(position + t, layer).experts) {
        all.add(expert);
        if (t >= count - marked) setBit(set, expert);
      }
    used = [...all];
    wanted[layer] = set;
  }

  /** Serves the experts that are resident, and returns those that are missing. */
  function resolve(layer: number): Uint32Array | null {
    let pending: Uint32Array | null = null;
    for (const expert of used) {
      if (done[expert]) continue;
      const id = layer * experts + expert;
      const slot = slots.table[id]!;
      if (slot < slots.count && slots.owners[slot] === id) {
        done[expert] = 1;
        onUse?.(slot, id);
      } else {
        pending ??= new Uint32Array(nothing.length);
        setBit(pending, expert);
      }
    }
    return pending;
  }

  /** Guesses, at layer `from`, what the two layers after it will want. */
  function guess(from: number, position: number): void {
    for (let layer = from + 1; layer <= Math.min(from + 2, layers - 1); layer++)
      guessed.push({ layer, from, experts: routing(position + 17 * (layer & 1), layer).set });
  }

  return {
    form,
    bucket,
    spent,
    begin: 0,
    end,
    resumeAt: (layer) => 2 * layer + 1,
    after: (layer) => 2 * layer + 2,
    async run({ seq, position, count, marked }, from, to): Promise<Report> {
      const began = performance.now();
      if (from !== 0 && from !== at) unsafe.push(`a run begins at ${from}, not at ${at}`);
      if (from === 0) {
        wanted = Array.from({ length: layers }, () => nothing);
        guessed = [];
      }
      let stall = NONE;
      let pending: Uint32Array = nothing;
      for (let mark = from; mark < to && mark < 2 * layers; mark++) {
        const layer = mark >> 1;
        if (mark % 2 === 0) {
          route(layer, position, count, marked);
          if (guesses) guess(layer, position);
        } else {
          const missing = resolve(layer);
          if (!missing) continue;
          stall = layer;
          pending = missing;
          at = mark;
          break;
        }
      }
      if (stall === NONE) at = to;
      const token = stall === NONE && to === end ? position + count : 0;
      const report = {
        seq,
        began: true,
        stall,
        pending,
        wanted: wanted.slice(),
        guesses: guessed.slice(),
        token,
        finite: true,
      };
      spent.ms += performance.now() - began;
      return report;
    },
    taps: async () => new Map(),
  };
}

/**
 * A speaker that opens models as any other does, but drops their dense weights. Whatever operations
 * a model applies, its plans want the experts that `routing` gives.
 */
export class FakeSpeaker implements Speaker {
  readonly device = "cpu";
  readonly description = "computes nothing";
  readonly lost = new Promise<string>(() => {});
  /** The slots that were made last. */
  made: FakeSlots | null = null;
  private readonly routing: Routing;
  private readonly options: FakeOptions;

  constructor(routing: Routing, options: FakeOptions = {}) {
    this.routing = routing;
    this.options = options;
  }

  weight(matrix: Matrix): Weight {
    return { matrix };
  }

  write({ matrix }: Weight, offset: number, bytes: Uint8Array): void {
    assert(offset + bytes.length <= matrix.end, "bytes of a weight lie within it");
  }

  history(ring: number, width: number, window: number) {
    return { ring, width, window };
  }

  cache(ring: number, width: number, window: number | null) {
    return { ring, width, window };
  }

  slots(count: number, bytes: number, experts: readonly number[]): FakeSlots {
    this.made = new FakeSlots(count, bytes, experts.length, Math.max(...experts));
    return this.made;
  }

  record(form: Form, bucket: Bucket, _model: (ops: Ops) => void, { ahead = 0 }: RecordOptions = {}): Plan {
    return fakePlan(form, bucket, defined(this.made, "slots"), this.routing, { ...this.options, guesses: ahead > 0 });
  }

  memory() {
    return { weights: 0, caches: 0, slots: 0, arena: 0 };
  }

  close(): void {}
}
