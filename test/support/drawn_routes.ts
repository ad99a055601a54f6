import { setBit, wordsOf } from "../../src/base/bits.ts";
import { fillNumbers, type Geometry } from "./synthetic_model.ts";

/** The experts that one token wants of one layer: ascending, and as a bit set. */
export interface Route {
  readonly experts: readonly number[];
  readonly set: Uint32Array;
}

export interface Habits {
  /** The probability that an expert of the token before is wanted again. */
  readonly repeat: number;
  /** Each layer ranks its experts: the one of rank r is drawn with a weight of 1 / r^skew. */
  readonly skew: number;
}

/**
 * Draws the routes of so many tokens at random, [token][layer]. They are skewed (each layer has
 * favourites of its own) and sticky (experts of the last token tend to come again).
 */
export function drawRoutes(geometry: Geometry, tokens: number, { repeat, skew }: Habits, seed = 1): Route[][] {
  const { layers, experts, top } = geometry;
  const next = uniformNumbers(seed);
  const weights = Array.from({ length: experts }, (_, rank) => (rank + 1) ** -skew);
  const total = weights.reduce((sum, weight) => sum + weight);
  const favourites = Array.from({ length: layers }, () => shuffled(experts, next));
  const draw = (layer: number): number => {
    let left = next() * total;
    for (const [rank, weight] of weights.entries()) {
      left -= weight;
      if (left < 0) return favourites[layer]![rank]!;
    }
    return favourites[layer]![0]!;
  };
  const before: (readonly number[])[] = favourites.map(() => []);
  return Array.from({ length: tokens }, () =>
    favourites.map((_, layer) => {
      const chosen = new Set(before[layer]!.filter(() => next() < repeat));
      while (chosen.size < top) chosen.add(draw(layer));
      const route = routeOf([...chosen], experts);
      before[layer] = route.experts;
      return route;
    }),
  );
}

/** Makes a route of experts, each taken once. */
export function routeOf(wanted: Iterable<number>, experts: number): Route {
  const set = new Uint32Array(wordsOf(experts));
  const ids = [...new Set(wanted)].sort((a, b) => a - b);
  for (const expert of ids) setBit(set, expert);
  return { experts: ids, set };
}

function uniformNumbers(seed: number): () => number {
  const block = new Float32Array(4096);
  let drawn = 0;
  return () => {
    if (drawn % block.length === 0) fillNumbers(block, { seed, stream: drawn / block.length }, 0.5);
    return block[drawn++ % block.length]! + 0.5;
  };
}

function shuffled(size: number, next: () => number): number[] {
  const order = Array.from({ length: size }, (_, index) => index);
  for (let index = size - 1; index > 0; index--) {
    const other = Math.floor(next() * (index + 1));
    [order[index], order[other]] = [order[other]!, order[index]!];
  }
  return order;
}
