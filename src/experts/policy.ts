import type { Shape } from "./residency.ts";

/** Decides which expert is evicted. Experts are known by their numbers, layer * E + expert. */
export interface Policy {
  /** There are so many slots now. */
  resize(slots: number): void;
  /** A token begins; touches that follow belong to it. */
  nextToken(): void;
  /** An expert is used, resident or not. */
  touch(id: number): void;
  /** An expert is resident from now on. */
  insert(id: number): void;
  /** An expert was evicted. */
  remove(id: number): void;
  /** The resident expert to evict for `incoming` (NONE: for nobody), not one that is needed. undefined: all are. */
  victim(incoming: number, needed: (id: number) => boolean): number | undefined;
}

/** Tokens after which a use counts half. */
export const HALF_LIFE_TOKENS = 16;

/**
 * Evicts the expert with the lowest exponentially decayed use count, ties by least recent use; a layer keeps A experts where the slots allow that to all.
 * A count is kept as if decayed to token 0, in log2, so that nothing needs to be swept: a use at token n adds 2^(n / halfLife).
 */
export class DecayedCounts implements Policy {
  private readonly shape: Shape;
  private readonly halfLife: number;
  private readonly log2Count: Float64Array;
  private readonly lastUse: Float64Array;
  private readonly resident = new Set<number>();
  private readonly residentOfLayer: number[];
  private floor = 0;
  private token = 0;
  private uses = 0;

  constructor(shape: Shape, halfLife = HALF_LIFE_TOKENS) {
    const experts = shape.layers * shape.experts;
    this.shape = shape;
    this.halfLife = halfLife;
    this.log2Count = new Float64Array(experts).fill(Number.NEGATIVE_INFINITY);
    this.lastUse = new Float64Array(experts).fill(-1);
    this.residentOfLayer = Array.from({ length: shape.layers }, () => 0);
  }

  resize(slots: number): void {
    const { layers, top } = this.shape;
    this.floor = slots >= layers * top ? top : 0;
  }

  nextToken(): void {
    this.token++;
  }

  touch(id: number): void {
    const now = this.token / this.halfLife;
    this.log2Count[id] = now + Math.log2(1 + 2 ** (this.log2Count[id]! - now));
    this.lastUse[id] = this.uses++;
  }

  insert(id: number): void {
    this.resident.add(id);
    this.residentOfLayer[this.layerOf(id)]!++;
  }

  remove(id: number): void {
    this.resident.delete(id);
    this.residentOfLayer[this.layerOf(id)]!--;
  }

  victim(_incoming: number, needed: (id: number) => boolean): number | undefined {
    let worst: number | undefined;
    let poor: number | undefined;
    for (const id of this.resident) {
      if (needed(id)) continue;
      if (this.residentOfLayer[this.layerOf(id)]! > this.floor) {
        if (worst === undefined || this.isWorse(id, worst)) worst = id;
      } else if (poor === undefined || this.isWorse(id, poor)) poor = id;
    }
    return worst ?? poor;
  }

  /** The decayed use count as of now; 0: never used. */
  heat(id: number): number {
    return 2 ** (this.log2Count[id]! - this.token / this.halfLife);
  }

  private layerOf(id: number): number {
    return Math.floor(id / this.shape.experts);
  }

  private isWorse(a: number, b: number): boolean {
    const [countA, countB] = [this.log2Count[a]!, this.log2Count[b]!];
    return countA === countB ? this.lastUse[a]! < this.lastUse[b]! : countA < countB;
  }
}
