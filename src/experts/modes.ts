/**
 * How tokens are run. queued: every expert is resident, and tokens are submitted ahead of each
 * other; optimistic: a token is one submission, which stalls where an expert is missing; grouped:
 * many experts are missing, and a submission ends where the next miss is expected.
 */
export const MODES = ["queued", "optimistic", "grouped"] as const;
export type Mode = (typeof MODES)[number];

/** Tokens after which a layer with a miss counts half. */
const HALF_LIFE_TOKENS = 8;

/** Chooses the mode at token boundaries, by the layers that lately missed an expert. */
export class Modes {
  private readonly layers: number;
  private readonly forced: Mode | "auto";
  /** Expected layers with a miss, of a token. */
  private misses = 0;

  constructor(layers: number, forced: Mode | "auto" = "auto") {
    this.layers = layers;
    this.forced = forced;
  }

  /** Without every expert, tokens cannot be queued whatever is wished. */
  choose(complete: boolean): Mode {
    if (this.forced !== "auto" && (this.forced !== "queued" || complete)) return this.forced;
    if (complete) return "queued";
    return this.forced === "auto" && 1 + this.misses > this.layers / 4 ? "grouped" : "optimistic";
  }

  /**
   * Layers of a submission while experts are missing. In groups the distance at which misses follow
   * each other: longer ones save readbacks, but run layers idle, which cost more on the device that
   * was measured (bench/RESULTS.md).
   */
  group(): number {
    if (this.choose(false) === "optimistic") return this.layers;
    return Math.max(1, Math.min(this.layers, Math.round(this.layers / this.misses)));
  }

  /** A token missed experts in so many layers. */
  note(layersWithMiss: number): void {
    const kept = 2 ** (-1 / HALF_LIFE_TOKENS);
    this.misses = kept * this.misses + (1 - kept) * layersWithMiss;
  }
}
