/** Tokens after which a use counts half. */
export const HALF_LIFE_TOKENS = 16;

/**
 * Which expert to evict: the one with the lowest exponentially decayed use count, ties by least recent use. Experts are numbered
 * layer * E + expert. A count is kept as if decayed to token 0, in log2, so that nothing needs to be swept: a use at token n adds 2^(n / halfLife).
 */
export class DecayedCounts {
  private readonly log2Count: Float64Array;
  private readonly lastUse: Float64Array;
  private readonly halfLife: number;
  private token = 0;
  private uses = 0;

  constructor(experts: number, halfLife = HALF_LIFE_TOKENS) {
    this.log2Count = new Float64Array(experts).fill(Number.NEGATIVE_INFINITY);
    this.lastUse = new Float64Array(experts).fill(-1);
    this.halfLife = halfLife;
  }

  /** A token begins; touches that follow belong to it. */
  nextToken(): void {
    this.token++;
  }

  touch(expert: number): void {
    const now = this.token / this.halfLife;
    this.log2Count[expert] = now + Math.log2(1 + 2 ** (this.log2Count[expert]! - now));
    this.lastUse[expert] = this.uses++;
  }

  /** The one of `candidates` to evict; undefined if there is none. */
  victim(candidates: Iterable<number>): number | undefined {
    let worst: number | undefined;
    for (const expert of candidates) if (worst === undefined || this.isWorse(expert, worst)) worst = expert;
    return worst;
  }

  private isWorse(a: number, b: number): boolean {
    const [countA, countB] = [this.log2Count[a]!, this.log2Count[b]!];
    return countA === countB ? this.lastUse[a]! < this.lastUse[b]! : countA < countB;
  }
}
