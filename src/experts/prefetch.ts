import { hasBit, members } from "../base/bits.ts";
import type { Guess } from "../ops/ops.ts";
import type { Counters } from "./counters.ts";
import type { Shape } from "./policy.ts";

/**
 * The most experts of one layer that are read ahead at the same time: more reads would delay those
 * in demand.
 */
const MOST_PER_LAYER = 2;

/** How many layers ahead guesses are made: a guess farther ahead is hardly better than none. */
export const MOST_LAYERS_AHEAD = 2;

/**
 * Keeps the books of prefetch: which experts are read on a guess, whether they were used, and how
 * good the guesses are.
 */
export class Prefetch {
  private readonly shape: Shape;
  private readonly counters: Counters;
  /** By layer, the latest guess in this step of what it will want. */
  private readonly guesses = new Map<number, Guess>();
  /** How many MoE layers this step has passed. */
  private passed = 0;
  /** Experts that were read ahead and that no layer has wanted since, with their bytes. */
  private readonly unused = new Map<number, number>();
  private readonly reads = new Map<number, Promise<void>>();
  /** Experts that a delivery asked for while they were still being read ahead. */
  private readonly late = new Set<number>();
  /**
   * By layer: how many experts it wanted, and how many of those the guess made one layer earlier
   * had named. Their quotient is `recall`.
   */
  private readonly wanted: number[];
  private readonly named: number[];

  constructor(shape: Shape, counters: Counters) {
    this.shape = shape;
    this.counters = counters;
    this.wanted = Array.from({ length: shape.layers }, () => 0);
    this.named = Array.from({ length: shape.layers }, () => 0);
  }

  get recall(): readonly number[] {
    return this.wanted.map((wanted, layer) => (wanted === 0 ? 0 : this.named[layer]! / wanted));
  }

  /** To be called when a token begins. */
  begin(): void {
    this.guesses.clear();
    this.passed = 0;
  }

  /**
   * Takes those guesses of a report that were made at layers before `end`. A report repeats the
   * guesses about layers that the step has passed; they are ignored.
   */
  hear(guesses: readonly Guess[], end: number): void {
    for (const guess of guesses)
      if (guess.layer >= this.passed && guess.from < end) this.guesses.set(guess.layer, guess);
  }

  /** Compares what a layer wanted with the guess about it, for `recall`. */
  compare(layer: number, wanted: Uint32Array): void {
    const guess = this.guesses.get(layer);
    this.guesses.delete(layer);
    this.passed = layer + 1;
    if (guess?.from !== layer - 1) return;
    for (const expert of members(wanted)) {
      this.wanted[layer]!++;
      if (hasBit(guess.experts, expert)) this.named[layer]!++;
    }
  }

  /**
   * The experts to read ahead now: those that the layers after `layer` are guessed to want and that
   * are neither resident nor being read, at most two per layer together with those being read.
   */
  candidates(layer: number, isResident: (id: number) => boolean): number[] {
    const found: number[] = [];
    for (let next = layer + 1; next <= layer + MOST_LAYERS_AHEAD; next++) {
      const guess = this.guesses.get(next);
      if (!guess) continue;
      const ids = members(guess.experts).map((expert) => next * this.shape.experts + expert);
      const under = ids.filter((id) => this.reads.has(id)).length;
      const missing = ids.filter((id) => !isResident(id) && !this.reads.has(id));
      found.push(...missing.slice(0, Math.max(0, MOST_PER_LAYER - under)));
    }
    return found;
  }

  /** Whether an expert was read ahead for a layer that is still to come in this token. */
  isAwaited(id: number): boolean {
    return this.unused.has(id) && this.guesses.has(Math.floor(id / this.shape.experts));
  }

  /** How many experts are being read ahead, or were and have not been used. */
  get held(): number {
    return this.reads.size + this.unused.size;
  }

  /** Starts to read an expert ahead. A failure is ignored: the expert is missing as before. */
  start(id: number, read: () => Promise<void>): void {
    this.counters.prefetches++;
    const done = read()
      .catch(() => {})
      .finally(() => this.reads.delete(id));
    this.reads.set(id, done);
  }

  underWay(id: number): Promise<void> | undefined {
    const read = this.reads.get(id);
    if (read) this.late.add(id);
    return read;
  }

  /** To be called when any expert has been read; ignores those that were not read ahead. */
  arrived(id: number, bytes: number): void {
    if (!this.reads.has(id)) return;
    if (this.late.delete(id)) this.counters.latePrefetchBytes += bytes;
    else this.unused.set(id, bytes);
  }

  /** To be called when a layer wants an expert. `hit`: it is resident. */
  used(id: number, hit: boolean): void {
    const bytes = this.unused.get(id);
    if (bytes === undefined || !hit) return;
    this.unused.delete(id);
    this.counters.usefulPrefetchBytes += bytes;
  }

  evicted(id: number): void {
    this.counters.wastedPrefetchBytes += this.unused.get(id) ?? 0;
    this.unused.delete(id);
  }

  /** Waits until nothing is being read ahead any more. */
  async quiet(): Promise<void> {
    while (this.reads.size > 0) await Promise.all(this.reads.values());
  }
}
