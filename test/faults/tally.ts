import { MixtabError } from "../../src/base/errors.ts";

/** A case that went wrong: bytes that are not the right ones, for instance. */
export class Wrong extends Error {}

/**
 * What became of the cases of one part. Each must work, with what is right, or be refused by a
 * MixtabError; all else is `wrong`.
 */
export class Tally {
  worked = 0;
  readonly refused = new Map<string, number>();
  readonly wrong: string[] = [];
  /** Of the case that took longest. */
  longestMs = 0;
  readonly part: string;

  constructor(part: string) {
    this.part = part;
  }

  get cases(): number {
    return this.worked + this.wrong.length + [...this.refused.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Runs one case. `name` leads back to it. */
  async run(name: string, work: () => unknown): Promise<void> {
    const began = performance.now();
    try {
      await work();
      this.worked++;
    } catch (error) {
      if (error instanceof MixtabError) this.refused.set(error.code, (this.refused.get(error.code) ?? 0) + 1);
      else this.wrong.push(`${this.part} ${name}: ${error instanceof Error ? error.stack : String(error)}`);
    }
    this.longestMs = Math.max(this.longestMs, performance.now() - began);
  }

  toString(): string {
    const codes = [...this.refused].sort(([, a], [, b]) => b - a).map(([code, count]) => `${code} ${count}`);
    return `${this.part}: ${this.cases} cases, ${this.worked} right, refused: ${codes.join(", ") || "none"}; wrong: ${this.wrong.length}; longest ${this.longestMs.toFixed(0)} ms`;
  }
}
