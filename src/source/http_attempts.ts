import { Passing } from "./http_answer.ts";
import type { Waits } from "./waits.ts";

/**
 * Attempts in a row that bring no byte before a connection counts as lost. In the midst of the
 * weights, where much is at stake, an outage of eight seconds is waited out; a text decides whether
 * a stored model opens without a network, which should take no longer than two.
 */
const MAX_FRUITLESS = { weights: 6, small: 4 };
/** Deadlines in a row before that, since each was a long wait. */
const MAX_SILENT = 2;
/** Deadlines that may go by in one read though each attempt brought some bytes. */
const MAX_STALLS = 8;
/**
 * A server that counts requests takes none for minutes, and mostly a page may not see how long: the
 * waits are so many times as long, five seconds and more.
 */
const TOO_MANY_FACTOR = 20;
/** A server that asks for more patience than this is asked again after so long. */
const LONGEST_WAIT_MS = 60_000;

/** How often, and after which waits, a request that failed is made again. */
export class Attempts {
  private readonly most: number;
  private readonly delayMs: number;
  private readonly waits: Waits;
  private fruitless = 0;
  private stalls = 0;

  constructor(what: keyof typeof MAX_FRUITLESS, delayMs: number, waits: Waits) {
    this.most = MAX_FRUITLESS[what];
    this.delayMs = delayMs;
    this.waits = waits;
  }

  /**
   * Waits before the next attempt, longer each time, and as long as the server asks; `brought` says
   * whether the failed one brought any byte. Throws if the failure is not temporary, or if there
   * were too many attempts in a row.
   */
  async again(error: unknown, brought: boolean, signal: AbortSignal | undefined): Promise<void> {
    if (!(error instanceof Passing)) throw error;
    if (error.stalled) this.stalls++;
    this.fruitless = brought ? 0 : this.fruitless + (error.stalled ? this.most / MAX_SILENT : 1);
    if (this.fruitless >= this.most || this.stalls >= MAX_STALLS) throw error.outcome;
    const factor = error.tooMany ? TOO_MANY_FACTOR : 1;
    const delayMs = this.delayMs * factor * 2 ** Math.max(0, this.fruitless - 1);
    const waitMs = Math.min(LONGEST_WAIT_MS, Math.max(delayMs, error.outcome.waitMs));
    await this.waits.wait(waitMs, error.message, signal);
  }
}
