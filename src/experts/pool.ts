import { assert } from "../base/assert.ts";
import { hasBit, members } from "../base/bits.ts";
import { release } from "../base/release.ts";
import { type Mark, NONE, type Plan, type Report, type Slots } from "../ops/ops.ts";
import { Counters, type Origin } from "./counters.ts";
import { DecayedCounts } from "./policy.ts";

/** Reads the record of an expert into memory that becomes the pool's. Rejects with the signal's reason when aborted. */
export type ReadExpert = (
  layer: number,
  expert: number,
  signal?: AbortSignal,
) => Promise<{ readonly bytes: Uint8Array<ArrayBuffer>; readonly from: Origin }>;

/**
 * The expert pool: which expert lies in which slot. The only owner of the slots' table and owners. An expert is known here by its
 * number, layer * E + expert, which is also what its slot's owner says.
 */
export class Pool {
  readonly slots: Slots;
  readonly prefill = new Counters();
  readonly decode = new Counters();

  private readonly top: number;
  private readonly read: ReadExpert;
  private readonly readsAtOnce: number;
  private readonly counts: DecayedCounts;
  /** Expert number -> slot. */
  private readonly resident = new Map<number, number>();
  private readonly residentOfLayer: number[];
  private readonly free: number[];
  /** Reports of a step arrive once per submission; each layer is touched once. */
  private touched = { seq: -1, layers: 0 };
  /** Of the current step, by layer: bits of the experts that were not there when they were first wanted. */
  private readonly missed = new Map<number, Uint32Array>();

  /**
   * `top`: experts per token, the floor below which a layer is not robbed where the slots allow it. `readsAtOnce`: records that may
   * be in JS memory together.
   */
  constructor(slots: Slots, top: number, read: ReadExpert, readsAtOnce = 1) {
    assert(slots.count >= top, "the slots hold the experts of one token and layer");
    this.slots = slots;
    this.top = top;
    this.read = read;
    this.readsAtOnce = readsAtOnce;
    this.counts = new DecayedCounts(slots.layers * slots.experts);
    this.residentOfLayer = Array.from({ length: slots.layers }, () => 0);
    this.free = Array.from({ length: slots.count }, (_, index) => slots.count - 1 - index);
  }

  get residentExperts(): number {
    return this.resident.size;
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

  /**
   * How far to run from a mark in one submission: a token, and anything when every expert is resident, to the end; a chunk with
   * experts missing to the end of the next MoE layer, since what follows a stall would run idle.
   */
  span(plan: Plan, from: Mark): Mark {
    const { layers, experts } = this.slots;
    if (plan.form === "one" || this.resident.size === layers * experts) return plan.end;
    for (let layer = 0; layer < layers - 1; layer++) if (plan.after(layer) > from) return plan.after(layer);
    return plan.end;
  }

  /** Takes note of what a report says was wanted, in layer order up to the stall, once per step and layer. */
  touch(plan: Plan, report: Report): void {
    const counters = this.counters(plan);
    counters.passes++;
    if (report.seq !== this.touched.seq) {
      this.touched = { seq: report.seq, layers: 0 };
      this.missed.clear();
      this.counts.nextToken();
    }
    const { layers, experts } = this.slots;
    const ran = report.stall === NONE ? layers : report.stall + 1;
    for (let layer = this.touched.layers; layer < ran; layer++) {
      const wanted = members(report.wanted[layer]!);
      if (report.stall === NONE && wanted.length === 0) break;
      for (const expert of wanted) {
        this.counts.touch(layer * experts + expert);
        if (layer !== report.stall || !hasBit(report.pending, expert)) counters.hits++;
      }
      if (layer === report.stall) {
        this.missed.set(layer, report.pending);
        counters.misses += members(report.pending).length;
      }
      this.touched.layers = layer + 1;
    }
  }

  /**
   * Makes room for and uploads as many pending experts of a stalled layer as the slots hold, and rewrites table and owner of those
   * already here. None of them is evicted for another. A failed read or an abort rejects; what was uploaded stays.
   */
  async bring(plan: Plan, layer: number, pending: Uint32Array, signal?: AbortSignal): Promise<void> {
    const began = performance.now();
    const { experts, count } = this.slots;
    const wanted = members(pending);
    const here = wanted.filter((expert) => this.resident.has(layer * experts + expert));
    for (const expert of here) this.announce(layer, expert, this.resident.get(layer * experts + expert)!);
    const missing = wanted.filter((expert) => !here.includes(expert)).slice(0, count - here.length);

    const needed = new Set(wanted.map((expert) => layer * experts + expert));
    const places = missing.map((expert) => ({ expert, slot: this.free.pop() ?? this.evict(needed) }));
    const queue = places.values();
    const failures: unknown[] = [];
    const work = async () => {
      for (const { expert, slot } of queue) {
        try {
          if (failures.length > 0) throw failures[0];
          signal?.throwIfAborted();
          const { bytes, from } = await this.read(layer, expert, signal);
          this.slots.write(slot, bytes);
          this.settle(layer, expert, slot);
          this.counters(plan).uploaded(bytes.length, from);
          release(bytes);
        } catch (error) {
          failures.push(error);
          this.free.push(slot);
        }
      }
    };
    await Promise.all(Array.from({ length: this.readsAtOnce }, work));
    this.counters(plan).stalledMs += performance.now() - began;
    if (failures.length > 0) throw failures[0];
  }

  /** Frees the slot of the least useful expert that is not needed: owner first, so that no kernel trusts it any more. */
  private evict(needed: ReadonlySet<number>): number {
    const { experts, layers, count } = this.slots;
    const layerOf = (expert: number) => Math.floor(expert / experts);
    const spared = [...this.resident.keys()].filter((expert) => !needed.has(expert));
    const floor = count >= layers * this.top ? this.top : 0;
    const rich = spared.filter((expert) => this.residentOfLayer[layerOf(expert)]! > floor);
    const victim = this.counts.victim(rich) ?? this.counts.victim(spared);
    assert(victim !== undefined, "a slot that is not needed can be freed");
    const slot = this.resident.get(victim)!;
    this.resident.delete(victim);
    this.residentOfLayer[layerOf(victim)]!--;
    this.slots.own(slot, NONE);
    this.slots.map(layerOf(victim), victim % experts, NONE);
    return slot;
  }

  private settle(layer: number, expert: number, slot: number): void {
    this.resident.set(layer * this.slots.experts + expert, slot);
    this.residentOfLayer[layer]!++;
    this.announce(layer, expert, slot);
  }

  private announce(layer: number, expert: number, slot: number): void {
    this.slots.own(slot, layer * this.slots.experts + expert);
    this.slots.map(layer, expert, slot);
  }
}
