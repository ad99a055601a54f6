/**
 * Requests under way at once: a browser gives one HTTP/1.1 host six connections, and bodies that
 * wait for each other deadlock there.
 */
const MOST = 4;
/** One of them is kept for experts in demand. */
const MOST_IN_BACKGROUND = 3;

/** What a request is for; a background request may come to be in demand while it waits. */
export interface Purpose {
  readonly inDemand: boolean;
}

/**
 * Shares out connections: experts in demand go first, and while any is waited for the background
 * starts nothing new.
 */
export class Connections {
  private running = 0;
  private demanded = 0;
  private readonly waiting = new Set<{ readonly purpose: Purpose; readonly start: () => void }>();

  /** Runs `task` as soon as a connection is free for it. */
  async run<T>(purpose: Purpose, task: () => Promise<T>): Promise<T> {
    if (!this.mayStart(purpose)) await new Promise<void>((start) => this.waiting.add({ purpose, start }));
    else this.running++;
    try {
      return await task();
    } finally {
      this.running--;
      this.wake();
    }
  }

  /** While `work` is under way, the background starts nothing. */
  async demand<T>(work: () => Promise<T>): Promise<T> {
    this.demanded++;
    try {
      return await work();
    } finally {
      this.demanded--;
      this.wake();
    }
  }

  private mayStart({ inDemand }: Purpose): boolean {
    return inDemand ? this.running < MOST : this.running < MOST_IN_BACKGROUND && this.demanded === 0;
  }

  /** Starts what may start; to be called when a purpose has changed. */
  wake(): void {
    for (const next of this.waiting) {
      if (!this.mayStart(next.purpose)) continue;
      this.waiting.delete(next);
      this.running++;
      next.start();
    }
  }
}
