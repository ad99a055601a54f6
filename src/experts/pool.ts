import { assert } from "../base/assert.ts";
import { hasBit, members, wordsOf } from "../base/bits.ts";
import { release } from "../base/release.ts";
import { type MoeLayer, NONE, type Plan, type Report, type Slots, type Step } from "../ops/ops.ts";
import { Counters, type Origin } from "./counters.ts";
import { Delivery, type Shelf } from "./delivery.ts";
import { type Mode, Modes } from "./modes.ts";
import { Pace } from "./pace.ts";
import type { Shape } from "./policy.ts";
import { Prefetch } from "./prefetch.ts";
import { Residency } from "./residency.ts";

/**
 * Reads the record of an expert and gives its bytes to `accept`, which may keep them; what it
 * accepted is void unless the promise resolves. Rejects with the signal's reason when aborted.
 */
export type ReadExpert = (
  layer: number,
  expert: number,
  accept: (offset: number, bytes: Uint8Array<ArrayBuffer>) => void,
  signal?: AbortSignal,
) => Promise<Origin>;

export interface PoolOptions {
  /** Records that may be in JS memory together. Default 1. */
  readonly readsAtOnce?: number;
  /** Whether guesses of later layers' experts are read ahead. Default false. */
  readonly prefetch?: boolean;
  /** How tokens are run; default: chosen from token to token. */
  readonly mode?: Mode | "auto";
  /** Ends what is read ahead. */
  readonly signal?: AbortSignal;
}

/**
 * The expert pool: which expert lies in which slot. The only owner of the slots' table and owners.
 * An expert is known here by its number, layer * E + expert, which is also what its slot's owner
 * says.
 */
export class Pool {
  readonly slots: Slots;
  readonly prefill = new Counters();
  readonly decode = new Counters();
  readonly pace = new Pace();

  private readonly shape: Shape;
  /** Experts of all layers. */
  private readonly all: number;
  private readonly residency: Residency;
  private readonly modes: Modes;
  private readonly ahead: Prefetch | null;
  private readonly read: ReadExpert;
  private readonly readsAtOnce: number;
  private readonly signal: AbortSignal | undefined;
  /**
   * Of the current step, by layer: bits of the experts that were not there when they were first
   * wanted.
   */
  private readonly missed = new Map<number, Uint32Array>();

  /** `layers`: the experts of each MoE layer, and how many serve a token. */
  constructor(
    slots: Slots,
    layers: readonly Pick<MoeLayer, "experts" | "top">[],
    read: ReadExpert,
    options: PoolOptions = {},
  ) {
    const { readsAtOnce = 1, prefetch = false, mode = "auto" } = options;
    const top = Math.max(...layers.map((layer) => layer.top));
    assert(slots.layers === layers.length, "the slots' table has every layer");
    assert(slots.count >= top, "the slots hold the experts of one token and layer");
    this.slots = slots;
    this.shape = { layers: slots.layers, experts: slots.experts, top };
    this.all = layers.reduce((sum, { experts }) => sum + experts, 0);
    this.residency = new Residency(this.shape, slots.count);
    this.modes = new Modes(slots.layers, mode);
    this.ahead = prefetch ? new Prefetch(this.shape, this.decode) : null;
    this.read = read;
    this.readsAtOnce = readsAtOnce;
    this.signal = options.signal;
  }

  /** MoE layers. */
  get layers(): number {
    return this.shape.layers;
  }

  /** Of a set of a layer's experts. */
  get words(): number {
    return wordsOf(this.shape.experts);
  }

  get residentExperts(): number {
    return this.residency.size;
  }

  /** Whether nothing can be missing. */
  get complete(): boolean {
    return this.residency.size === this.all;
  }

  /** A, of the layer with the most. */
  get top(): number {
    return this.shape.top;
  }

  /** How the next token is run. */
  get mode(): Mode {
    return this.modes.choose(this.complete);
  }

  /**
   * Share of the wanted experts that a layer's guesses named, one layer before; empty without
   * prefetch.
   */
  get recall(): readonly number[] {
    return this.ahead?.recall ?? [];
  }

  /** Whether an expert was resident when the last step first wanted it. */
  wasResident(layer: number, expert: number): boolean {
    const missed = this.missed.get(layer);
    return missed === undefined || !hasBit(missed, expert);
  }

  /** Those of the phase that a plan belongs to. */
  counters(plan: Plan): Counters {
    return plan.form === "one" ? this.decode : this.prefill;
  }

  /** MoE layers that are behind a step after its next submission, when `passed` are. */
  until(plan: Plan, passed: number): number {
    const { layers } = this.shape;
    const most = passed + this.pace.layers(plan, layers);
    if (this.complete) return Math.min(layers, most);
    // What follows a stall runs idle, which in a chunk is not cheap.
    if (plan.form === "many") return passed + 1;
    return Math.min(layers, most, passed + this.modes.group());
  }

  /** A step begins, or the chunks of a segment, which count as one. */
  beginStep(): void {
    this.missed.clear();
    this.ahead?.begin();
  }

  /**
   * Takes note of what a layer wanted and of what of it (and of what else it needs) was not there.
   */
  note(counters: Counters, layer: number, wanted: Uint32Array, pending?: Uint32Array): void {
    const used = members(wanted);
    this.residency.use(
      layer,
      used.map((expert) => this.id(layer, expert)),
    );
    for (const expert of used) {
      const hit = !pending || !hasBit(pending, expert);
      if (hit) counters.hits++;
      this.ahead?.used(this.id(layer, expert), hit);
    }
    this.ahead?.compare(layer, wanted);
    if (!pending) return;
    this.missed.set(layer, pending);
    counters.misses += members(pending).length;
    counters.stalls++;
  }

  /** Takes note of a report's guesses that were made in front of layers before `end`. */
  guessed(report: Report, end: number): void {
    this.ahead?.hear(report.guesses, end);
  }

  /** A step has come to its end. */
  finished(plan: Plan, step: Step): void {
    this.counters(plan).tokens += step.count;
    if (plan.form === "one") this.modes.note(this.missed.size);
  }

  /**
   * Starts to bring what chunks wait for at a layer, and rewrites table and owner of what is here.
   */
  deliver(counters: Counters, layer: number, pending: Uint32Array, signal: AbortSignal | undefined): Delivery {
    for (const expert of members(pending)) {
      const id = this.id(layer, expert);
      const slot = this.residency.slotOf(id);
      if (slot !== NONE) this.announce(id, slot);
    }
    const shelf: Shelf = {
      slotOf: (id) => this.residency.slotOf(id),
      reserve: (id, needed) => this.reserve(id, needed),
      vacate: (id) => this.vacate(id),
      cancel: (slot) => this.residency.cancel(slot),
      fetch: (id, slot) => this.fetch(id, slot, counters, signal),
      underWay: (id) => this.ahead?.underWay(id),
    };
    return new Delivery(shelf, { layer, experts: this.shape.experts, pending }, this.readsAtOnce, signal);
  }

  /**
   * While a step runs on from a layer: reads what the next layers will probably want, into free
   * slots or those of experts that are not used.
   */
  prefetch(layer: number): void {
    const { ahead, residency } = this;
    if (!ahead) return;
    for (const id of ahead.candidates(layer, (id) => residency.slotOf(id) !== NONE)) {
      // What is in demand must always find a slot.
      if (ahead.held + this.shape.top >= this.slots.count) return;
      const spared = (other: number) => ahead.isAwaited(other) || Math.floor(other / this.shape.experts) === layer;
      const slot = this.take(id, spared, COLD);
      if (slot === undefined) return;
      ahead.start(id, () => this.fetch(id, slot, this.decode, this.signal));
    }
  }

  /** Waits for what is read ahead. */
  async quiet(): Promise<void> {
    await this.ahead?.quiet();
  }

  /**
   * Changes the number of slots, between two steps; the most useful experts stay. Errors:
   * out-of-memory, after which everything is as before.
   */
  async resize(count: number): Promise<void> {
    assert(count >= this.shape.top, "the slots hold the experts of one token and layer");
    await this.quiet();
    const before = this.slots.count;
    if (count >= before) {
      await this.slots.resize(count);
      for (let slot = before; slot < count; slot++) this.slots.own(slot, NONE);
      this.residency.grow(count);
      return;
    }
    const { evicted, moved, commit } = this.residency.shrink(count);
    await this.slots.resize(count, moved);
    for (const id of evicted) {
      const slot = this.residency.slotOf(id);
      if (slot < count) this.slots.own(slot, NONE);
      this.map(id, NONE);
      this.ahead?.evicted(id);
    }
    commit();
    for (const { id, to } of moved) this.announce(id, to);
  }

  private id(layer: number, expert: number): number {
    return layer * this.shape.experts + expert;
  }

  /** A slot for what is in demand, if possible not that of what was just read ahead. */
  private reserve(id: number, needed: (id: number) => boolean): number | undefined {
    const { ahead } = this;
    const kept = ahead && this.take(id, (other) => needed(other) || ahead.isAwaited(other));
    return kept ?? this.take(id, needed);
  }

  /** Owner first, so that no kernel trusts the slot any more. */
  private take(id: number, needed: (id: number) => boolean, below?: number): number | undefined {
    const place = this.residency.reserve(id, needed, below);
    if (place && place.evicted !== NONE) this.forget(place.evicted, place.slot);
    return place?.slot;
  }

  private vacate(id: number): number {
    const slot = this.residency.vacate(id);
    this.forget(id, slot);
    return slot;
  }

  private forget(id: number, slot: number): void {
    this.slots.own(slot, NONE);
    this.map(id, NONE);
    this.ahead?.evicted(id);
  }

  private async fetch(id: number, slot: number, counters: Counters, signal: AbortSignal | undefined): Promise<void> {
    const { experts } = this.shape;
    let bytes = 0;
    const accept = (offset: number, data: Uint8Array<ArrayBuffer>) => {
      this.slots.write(slot, offset, data);
      bytes = Math.max(bytes, offset + data.length);
      release(data);
    };
    try {
      const from = await this.read(Math.floor(id / experts), id % experts, accept, signal);
      counters.uploaded(bytes, from);
    } catch (error) {
      this.residency.cancel(slot);
      throw error;
    }
    this.residency.settle(id, slot);
    this.announce(id, slot);
    this.ahead?.arrived(id, bytes);
  }

  private announce(id: number, slot: number): void {
    this.slots.own(slot, id);
    this.map(id, slot);
  }

  private map(id: number, slot: number): void {
    this.slots.map(Math.floor(id / this.shape.experts), id % this.shape.experts, slot);
  }
}

/**
 * An expert may give up its slot for a guessed one only if its own chance of being used by its
 * layer's next visit is below this. Three guesses in four are right, so that what comes is then
 * more likely to be used than what goes.
 */
const COLD = 0.5;
