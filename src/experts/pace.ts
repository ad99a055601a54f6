import type { Plan } from "../ops/ops.ts";

/**
 * The longest a submission should take. Windows resets a GPU that is busy for 2 s, and the page
 * needs the GPU for drawing in between.
 */
const LONGEST_MS = 500;

/**
 * Says how many MoE layers a submission may hold, from the measured time per layer, so that it
 * takes no longer than LONGEST_MS.
 */
export class Pace {
  /** By form and bucket, milliseconds per MoE layer. */
  private readonly measured = new Map<string, number>();

  /**
   * How many of `all` MoE layers the next submission of a plan may hold. As long as nothing was
   * measured, that is one for a prompt and all for a token, since a layer takes much less time for
   * one token than for a chunk.
   */
  layers(plan: Plan, all: number): number {
    const ms = this.measured.get(key(plan));
    if (ms === undefined) return plan.form === "one" ? all : 1;
    return Math.max(1, Math.min(all, Math.floor(LONGEST_MS / ms)));
  }

  /** Takes note that `layers` MoE layers of a plan took `ms` milliseconds. */
  note(plan: Plan, layers: number, ms: number): void {
    if (layers === 0) return;
    const before = this.measured.get(key(plan));
    const now = ms / layers;
    this.measured.set(key(plan), before === undefined ? now : (before + now) / 2);
  }
}

const key = ({ form, bucket }: Plan): string => `${form} ${bucket}`;
