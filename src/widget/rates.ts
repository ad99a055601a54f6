import type { PoolCounters } from "../index.ts";

/** What an answer's own tokens cost on average; undefined before the first of them. */
export interface Rates {
  /** The share of the experts wanted that were resident, 0 to 1. */
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
