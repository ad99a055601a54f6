/**
 * How long the platform may take over something before it counts as never to be answered: where a
 * person deletes the site's data, promises of reads that are under way may stay pending for ever.
 */
export interface Patience {
  readonly stillMs: number;
  /** On top, for as many bytes as are read or written in one call. */
  readonly bytesPerSecond: number;
}

export const PATIENCE: Patience = { stillMs: 10_000, bytesPerSecond: 5_000_000 };

/** Thrown by `inTime`. */
export class Overdue extends Error {
  override readonly name = "Overdue";
}

/**
 * The result of `work`; rejects with {@link Overdue} if it has not come in the time that `bytes`
 * may take.
 */
export async function inTime<T>(work: Promise<T>, { stillMs, bytesPerSecond }: Patience, bytes = 0): Promise<T> {
  const ms = stillMs + (1000 * bytes) / bytesPerSecond;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Overdue(`it has not answered for ${Math.ceil(ms / 1000)} seconds`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
