import { Outage } from "../source/source.ts";
import type { Waits } from "../source/waits.ts";

/** The wait after the first outage; it doubles with each further one. */
const FIRST_WAIT_MS = 1000;
/** The longest wait, also where the server asks for more. */
const LONGEST_WAIT_MS = 60_000;

/**
 * Does `work` again and again until no outage ends it, with waits that grow while `done` (anything
 * that grows with the work) stays the same. Errors: those of `work` that are no Outage.
 */
export async function throughOutages<T>(
  work: () => Promise<T>,
  done: () => number,
  waits: Waits,
  signal: AbortSignal,
): Promise<T> {
  for (let waitMs = FIRST_WAIT_MS; ; ) {
    const before = done();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Outage)) throw error;
      if (done() > before) waitMs = FIRST_WAIT_MS;
      await waits.wait(Math.min(LONGEST_WAIT_MS, Math.max(waitMs, error.waitMs)), error.message, signal);
      waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS);
    }
  }
}
