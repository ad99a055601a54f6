/** Where the bytes of a record came from. */
export type Origin = "store" | "network" | "memory";

/** What the pool did; see `PoolCounters` of the public API for the meaning of each number. */
export class Counters {
  tokens = 0;
  hits = 0;
  misses = 0;
  uploads = 0;
  uploadedBytes = 0;
  bytesFromStore = 0;
  bytesFromNetwork = 0;
  passes = 0;
  stalls = 0;
  stalledMs = 0;
  prefetches = 0;
  usefulPrefetchBytes = 0;
  wastedPrefetchBytes = 0;
  latePrefetchBytes = 0;

  uploaded(bytes: number, from: Origin): void {
    this.uploads++;
    this.uploadedBytes += bytes;
    if (from === "store") this.bytesFromStore += bytes;
    if (from === "network") this.bytesFromNetwork += bytes;
  }

  copy(): Counters {
    return Object.assign(new Counters(), this);
  }

  /** What happened since `earlier`. */
  since(earlier: Counters): Counters {
    const difference = new Counters();
    for (const key of Object.keys(difference) as (keyof Counters & Countable)[])
      difference[key] = this[key] - earlier[key];
    return difference;
  }
}

type Countable = {
  [K in keyof Counters]: Counters[K] extends number ? K : never;
}[keyof Counters];
