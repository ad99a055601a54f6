import { sleep } from "./sleep.ts";

/** Shorter waits are not told: they are over before anybody has read of them. */
const TOLD_MS = 1000;

/** Somebody waits before trying again. */
export interface Wait {
  /** When the next try is, in milliseconds of `performance.now()`. */
  readonly until: number;
  /** What went wrong, in words. */
  readonly reason: string;
}

/** The waits before failed requests are made again: they can be watched, and cut short. */
export class Waits {
  /** Is told of the wait that ends first, whenever that changes; undefined where nobody waits. */
  onChange: (wait: Wait | undefined) => void = () => {};
  private readonly open = new Map<AbortController, Wait>();
  private readonly sleep: typeof sleep;

  constructor(sleeping = sleep) {
    this.sleep = sleeping;
  }

  /** Resolves after `ms`, or when `tryNow` is called. Rejects with the signal's reason. */
  async wait(ms: number, reason: string, signal: AbortSignal | undefined): Promise<void> {
    const cutShort = new AbortController();
    const either = signal ? AbortSignal.any([signal, cutShort.signal]) : cutShort.signal;
    this.open.set(cutShort, { until: performance.now() + ms, reason });
    if (ms >= TOLD_MS) this.tell();
    try {
      await this.sleep(ms, either);
    } catch (error) {
      signal?.throwIfAborted();
      if (!cutShort.signal.aborted) throw error;
    } finally {
      this.open.delete(cutShort);
      if (ms >= TOLD_MS) this.tell();
    }
  }

  /** Ends every wait. */
  tryNow(): void {
    for (const cutShort of this.open.keys()) cutShort.abort();
  }

  private tell(): void {
    const now = performance.now();
    const told = [...this.open.values()].filter(({ until }) => until > now);
    this.onChange(told.sort((a, b) => a.until - b.until)[0]);
  }
}
