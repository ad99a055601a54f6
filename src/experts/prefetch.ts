import { hasBit, members } from "../base/bits.ts";
import type { Guess } from "../ops/ops.ts";
import type { Counters } from "./counters.ts";
import type { Shape } from "./policy.ts";

/** Of each layer, per token: more reads than that would rather be in the way. */
const MOST_PER_LAYER = 2;

/** How many layers ahead guesses are made: beyond that one is hardly better than none. */
export const MOST_LAYERS_AHEAD = 2;

/**
 * What is read on a guess: which experts, whether they were of use, and how good the guesses are.
 */
export class Prefetch {
  private readonly shape: Shape;
  private readonly counters: Counters;
  /** By layer, the latest guess at it in this step. */
  private readonly guesses = new Map<number, Guess>();
  /** Layers that are behind this step. */
  private passed = 0;
  /** Experts read ahead that nobody has wanted yet, with their bytes. */
  private readonly unused = new Map<number, number>();
  private readonly reads = new Map<number, Promise<void>>();
  /** Experts that were wanted while they were read. */
  private readonly late = new Set<number>();
  /**
   * By layer, of the guesses one layer before: experts wanted, and those of them that had been
   * guessed.
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

  /** A token begins. */
  begin(): void {
    this.guesses.clear();
    this.passed = 0;
  }

  /**
   * Guesses of a report that were made in front of layers before `end`; those at layers that are
   * behind are repeated in it.
   */
  hear(guesses: readonly Guess[], end: number): void {
    for (const guess of guesses)
      if (guess.layer >= this.passed && guess.from < end) this.guesses.set(guess.layer, guess);
  }

  /** What a layer wanted, to be compared with the guess at it. */
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
   * The experts of the layers after `layer` that are guessed to be wanted and not there yet, at
   * most two of each.
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

  /** Whether an expert was read for a layer that is still to come in this token. */
  isAwaited(id: number): boolean {
    return this.unused.has(id) && this.guesses.has(Math.floor(id / this.shape.experts));
  }

  /** Experts that are being read or lie there unused. */
  get held(): number {
    return this.reads.size + this.unused.size;
  }

  /** Reads an expert; a failure leaves things as if it had not been guessed. */
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

  /** An expert has come; it counts here if it was read ahead. */
  arrived(id: number, bytes: number): void {
    if (!this.reads.has(id)) return;
    if (this.late.delete(id)) this.counters.latePrefetchBytes += bytes;
    else this.unused.set(id, bytes);
  }

  /** An expert is wanted. */
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

  /** Waits for what is under way. */
  async quiet(): Promise<void> {
    while (this.reads.size > 0) await Promise.all(this.reads.values());
  }
}
