/**
 * How tokens are run. queued: every expert is resident, and tokens are submitted ahead of each
 * other; optimistic: a token is one submission, which stalls where an expert is missing; grouped:
 * many experts are missing, and a submission ends where the next miss is expected.
 */
export const MODES = ["queued", "optimistic", "grouped"] as const;
export type Mode = (typeof MODES)[number];

/** After so many tokens, a token's misses count half. */
const HALF_LIFE_TOKENS = 8;

/** Chooses the mode of each token by how many layers of the tokens before it missed an expert. */
export class Modes {
  private readonly layers: number;
  private readonly forced: Mode | "auto";
  /** How many layers of the next token are expected to miss an expert: a decaying average. */
  private misses = 0;

  constructor(layers: number, forced: Mode | "auto" = "auto") {
    this.layers = layers;
    this.forced = forced;
  }

  /**
   * The mode of the next token. `complete`: every expert is resident. While that is not so, tokens
   * cannot be queued, and a forced "queued" means "optimistic".
   */
  choose(complete: boolean): Mode {
    if (this.forced !== "auto" && (this.forced !== "queued" || complete)) return this.forced;
    if (complete) return "queued";
    return this.forced === "auto" && 1 + this.misses > this.layers / 4 ? "grouped" : "optimistic";
  }

  /**
   * How many layers a submission holds while experts are missing. In mode optimistic: all. In mode
   * grouped: the average distance between layers with a miss (8 if 4 of 32 layers miss). Longer
   * groups save readbacks, but run more layers idle after a miss, which cost more on the device
   * that was measured (bench/RESULTS.md).
   */
  group(): number {
    if (this.choose(false) === "optimistic") return this.layers;
    return Math.max(1, Math.min(this.layers, Math.round(this.layers / this.misses)));
  }

  /** Takes note that a token missed experts in so many layers. */
  note(layersWithMiss: number): void {
    const kept = 2 ** (-1 / HALF_LIFE_TOKENS);
    this.misses = kept * this.misses + (1 - kept) * layersWithMiss;
  }
}
