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
 * Reads the record of an expert and gives its bytes, slice by slice, to `accept`, which may keep
 * them. The bytes are valid only if the promise resolves. Rejects with the signal's reason when
 * aborted.
 */
export type ReadExpert = (
  layer: number,
  expert: number,
  accept: (offset: number, bytes: Uint8Array<ArrayBuffer>) => void,
  signal?: AbortSignal,
) => Promise<Origin>;

export interface PoolOptions {
  /** How many records are read at once, and so lie in JS memory together. Default 1. */
  readonly readsAtOnce?: number;
  /** Whether experts that later layers are guessed to want are read ahead. Default false. */
  readonly prefetch?: boolean;
  /** How tokens are run. Default "auto": chosen anew for each token. */
  readonly mode?: Mode | "auto";
  /** Aborts the reads of prefetch. */
  readonly signal?: AbortSignal;
}

/**
 * The expert pool: it decides which expert lies in which slot, and it alone writes the slots' table
 * and owners. It knows an expert by its number, layer * E + expert (expert 5 of layer 3 is 29 where
 * E is 8), and writes the same number as the slot's owner.
 */
export class Pool {
  readonly slots: Slots;
  readonly prefill = new Counters();
  readonly decode = new Counters();
  readonly pace = new Pace();

  private readonly shape: Shape;
  /** The number of experts of all layers together. */
  private readonly all: number;
  private readonly residency: Residency;
  private readonly modes: Modes;
  private readonly ahead: Prefetch | null;
  private readonly read: ReadExpert;
  private readonly readsAtOnce: number;
  private readonly signal: AbortSignal | undefined;
  /**
   * In the current step, by layer: bits of the experts that were not resident when the layer first
   * wanted them.
   */
  private readonly missed = new Map<number, Uint32Array>();

  /** `layers`: E and A of each MoE layer. */
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

  /** The number of MoE layers. */
  get layers(): number {
    return this.shape.layers;
  }

  /** The number of words in a bit set of a layer's experts. */
  get words(): number {
    return wordsOf(this.shape.experts);
  }

  get residentExperts(): number {
    return this.residency.size;
  }

  /** Whether every expert of the model is resident, so that no step can stall. */
  get complete(): boolean {
    return this.residency.size === this.all;
  }

  /** The largest A of any layer. */
  get top(): number {
    return this.shape.top;
  }

  /** How the next token is run. */
  get mode(): Mode {
    return this.modes.choose(this.complete);
  }

  /**
   * By layer, the share of the experts it wanted that the guess made one layer earlier had named;
   * empty without prefetch.
   */
  get recall(): readonly number[] {
    return this.ahead?.recall ?? [];
  }

  /** Whether an expert was resident when the last step first wanted it. */
  wasResident(layer: number, expert: number): boolean {
    const missed = this.missed.get(layer);
    return missed === undefined || !hasBit(missed, expert);
  }

  /**
   * The counters of the phase that a plan belongs to: decode for form `one`, prefill for `many`.
   */
  counters(plan: Plan): Counters {
    return plan.form === "one" ? this.decode : this.prefill;
  }

  /**
   * How many MoE layers a step will have passed when its next submission ends, if it has passed
   * `passed` of them so far.
   */
  until(plan: Plan, passed: number): number {
    const { layers } = this.shape;
    const most = passed + this.pace.layers(plan, layers);
    if (this.complete) return Math.min(layers, most);
    // The kernels behind a stalled layer are still dispatched and return at once. With the grids of
    // a chunk that is not cheap, so the submission ends at the next layer.
    if (plan.form === "many") return passed + 1;
    return Math.min(layers, most, passed + this.modes.group());
  }

  /** To be called when a step begins; the chunks of a segment count as one step. */
  beginStep(): void {
    this.missed.clear();
    this.ahead?.begin();
  }

  /**
   * Counts the experts that a layer wanted as used, and as hits unless they are in `pending`.
   * `pending`: the experts that were not resident, also those that only unmarked tokens need;
   * undefined if the layer did not stall.
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

  /** Passes on to prefetch those guesses of a report that were made at layers before `end`. */
  guessed(report: Report, end: number): void {
    this.ahead?.hear(report.guesses, end);
  }

  /** To be called when a step has ended. */
  finished(plan: Plan, step: Step): void {
    this.counters(plan).tokens += step.count;
    if (plan.form === "one") this.modes.note(this.missed.size);
  }

  /**
   * Starts to read the experts for which chunks wait at a layer. For those that are resident it
   * writes table and owner again.
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
   * To be called while a step resumes from `layer`: reads experts that the next layers will
   * probably want, into free slots or into slots of experts that will probably not be used next.
   */
  prefetch(layer: number): void {
    const { ahead, residency } = this;
    if (!ahead) return;
    for (const id of ahead.candidates(layer, (id) => residency.slotOf(id) !== NONE)) {
      // So many slots stay out of prefetch's reach that a layer in demand always finds its A.
      if (ahead.held + this.shape.top >= this.slots.count) return;
      const spared = (other: number) => ahead.isAwaited(other) || Math.floor(other / this.shape.experts) === layer;
      const slot = this.take(id, spared, COLD);
      if (slot === undefined) return;
      ahead.start(id, () => this.fetch(id, slot, this.decode, this.signal));
    }
  }

  /** Waits until prefetch reads nothing any more. */
  async quiet(): Promise<void> {
    await this.ahead?.quiet();
  }

  /**
   * Changes the number of slots; to be called between two steps. If it shrinks, the most useful
   * experts stay. Errors: out-of-memory, after which everything is as before.
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

  /** Evicts every expert; to be called between two steps. */
  async empty(): Promise<void> {
    await this.quiet();
    for (const id of this.residency.residents) this.residency.cancel(this.vacate(id));
  }

  private id(layer: number, expert: number): number {
    return layer * this.shape.experts + expert;
  }

  /**
   * Reserves a slot for an expert in demand. If possible it spares the experts that were read ahead
   * for layers still to come.
   */
  private reserve(id: number, needed: (id: number) => boolean): number | undefined {
    const { ahead } = this;
    const kept = ahead && this.take(id, (other) => needed(other) || ahead.isAwaited(other));
    return kept ?? this.take(id, needed);
  }

  /**
   * Reserves a slot. Where that evicts an expert, the slot's owner is cleared at once, so that no
   * kernel trusts the slot any more.
   */
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
 * layer's next visit is below this. Three guesses in four are right, so the expert that comes is
 * then more likely to be used than the one that goes.
 */
const COLD = 0.5;
