import type { PoolCounters } from "../index.ts";

/** What is counted of an answer's own tokens, as shares of a token; undefined before the first. */
export interface Rates {
  /** Of the experts wanted, those that were in memory: 0 to 1. */
  readonly hitRate: number | undefined;
  readonly bytesPerToken: number | undefined;
  readonly passesPerToken: number | undefined;
}

/** The {@link Rates} of some counters. */
export function ratesOf({ tokens, hits, misses, uploadedBytes, passes }: PoolCounters): Rates {
  return {
    hitRate: tokens > 0 && hits + misses > 0 ? hits / (hits + misses) : undefined,
    bytesPerToken: tokens > 0 ? uploadedBytes / tokens : undefined,
    passesPerToken: tokens > 0 ? passes / tokens : undefined,
  };
}
