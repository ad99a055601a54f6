import type { Plan } from "../ops/ops.ts";

/**
 * A submission should not take longer: Windows resets a GPU after 2 s, and a page that draws wants
 * its turn.
 */
const LONGEST_MS = 500;

/** How many layers a submission may hold: measured, since a watchdog ends what runs too long. */
export class Pace {
  /** By form and bucket, milliseconds per MoE layer. */
  private readonly measured = new Map<string, number>();

  /**
   * A prompt begins with one layer; a token, whose layers take a bucket's part of that, with all.
   */
  layers(plan: Plan, all: number): number {
    const ms = this.measured.get(key(plan));
    if (ms === undefined) return plan.form === "one" ? all : 1;
    return Math.max(1, Math.min(all, Math.floor(LONGEST_MS / ms)));
  }

  /** `layers` of a plan took `ms`. */
  note(plan: Plan, layers: number, ms: number): void {
    if (layers === 0) return;
    const before = this.measured.get(key(plan));
    const now = ms / layers;
    this.measured.set(key(plan), before === undefined ? now : (before + now) / 2);
  }
}

const key = ({ form, bucket }: Plan): string => `${form} ${bucket}`;
