import { Passing } from "./http_answer.ts";

/** Attempts in a row that bring no byte before a connection counts as lost. */
const MAX_FRUITLESS = 4;
/** An attempt that ended by a deadline was a long wait: it counts as so many. */
const STALL_WEIGHT = 2;
/** Deadlines that may go by in one read though each attempt brought some bytes. */
const MAX_STALLS = 8;

/** How often, and after which waits, a request that failed is made again. */
export class Attempts {
  private readonly delayMs: number;
  private fruitless = 0;
  private stalls = 0;

  constructor(delayMs: number) {
    this.delayMs = delayMs;
  }

  /**
   * Waits before the next attempt; `brought` says whether the failed one brought any byte. Throws
   * if the failure is not temporary, or if there were too many attempts in a row.
   */
  async again(error: unknown, brought: boolean, signal: AbortSignal | undefined): Promise<void> {
    if (!(error instanceof Passing)) throw error;
    if (error.stalled) this.stalls++;
    this.fruitless = brought ? 0 : this.fruitless + (error.stalled ? STALL_WEIGHT : 1);
    if (this.fruitless >= MAX_FRUITLESS || this.stalls >= MAX_STALLS) throw error.outcome;
    await sleep(this.delayMs * 2 ** Math.max(0, this.fruitless - 1), signal);
  }
}

export function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
