/**
 * Analyses the routing of a conversation as the Mixtral paper does (Jiang et al. 2024, section 5),
 * and computes how many assignments expert capacities would have dropped.
 */
import type { RouteTrace, Visit } from "./route_trace.ts";

/** The capacity factors for which drops are computed (Switch: 1.0, 1.25; GShard: 2). */
export const CAPACITY_FACTORS = [1, 1.25, 2] as const;

export interface LayerRouting {
  readonly layer: number;
  readonly tokens: number;
  /** [E], by expert, its share of the layer's assignments. The shares sum to 1. */
  readonly shares: readonly number[];
  /**
   * Shares of the pairs of consecutive tokens. firstRepeats: both have the same first choice.
   * eitherRepeats: the first or second choice of one is among the first two of the other.
   */
  readonly firstRepeats: number;
  readonly eitherRepeats: number;
  /**
   * E * Σ f_i P_i (Fedus et al. 2021, eq. 4): 1 when balanced, E when one expert serves all. f:
   * share of first choices; P: mean weight. null: the trace has no weights.
   */
  readonly loadBalance: number | null;
  /**
   * By capacity factor, the share of assignments beyond the capacity of their expert, which is
   * ceil(factor * tokens * A / E).
   */
  readonly dropped: readonly number[];
}

export interface Routing {
  readonly layers: readonly LayerRouting[];
  /**
   * The same shares of repetitions if experts were drawn uniformly: 1 / E for the first choice, and
   * 1 - C(E - 2, 2) / C(E, 2) for either.
   */
  readonly randomFirst: number;
  readonly randomEither: number;
}

/**
 * Analyses all tokens of a trace, those of prompts too. Two tokens are consecutive if their
 * positions are neighbours in the same turn.
 */
export function analyseRouting({ visits, layers, experts }: RouteTrace): Routing {
  return {
    layers: Array.from({ length: layers }, (_, layer) => ofLayer(visits, layer, experts)),
    randomFirst: 1 / experts,
    randomEither: experts < 2 ? 1 : 1 - ((experts - 2) * (experts - 3)) / (experts * (experts - 1)),
  };
}

function ofLayer(all: readonly Visit[], layer: number, experts: number): LayerRouting {
  const visits = all.filter((visit) => visit.layer === layer);
  const [uses, first, weight] = [0, 0, 0].map(() => new Array<number>(experts).fill(0)) as [
    number[],
    number[],
    number[],
  ];
  for (const { experts: chosen, weights } of visits) {
    first[chosen[0]!]!++;
    for (const [rank, expert] of chosen.entries()) {
      uses[expert]!++;
      weight[expert]! += weights[rank] ?? 0;
    }
  }
  const assignments = uses.reduce((sum, count) => sum + count, 0);
  const pairs = visits.flatMap((visit, index) => {
    const before = visits[index - 1];
    const follows = before?.turn === visit.turn && before.position + 1 === visit.position;
    return follows ? [[before.experts.slice(0, 2), visit.experts.slice(0, 2)] as const] : [];
  });
  const share = (count: number, of: number) => (of === 0 ? 0 : count / of);
  return {
    layer,
    tokens: visits.length,
    shares: uses.map((count) => share(count, assignments)),
    firstRepeats: share(pairs.filter(([a, b]) => a[0] === b[0]).length, pairs.length),
    eitherRepeats: share(pairs.filter(([a, b]) => a.some((expert) => b.includes(expert))).length, pairs.length),
    loadBalance: visits.some(({ weights }) => weights.length > 0)
      ? experts *
        first.reduce((sum, count, id) => sum + share(count, visits.length) * share(weight[id]!, visits.length), 0)
      : null,
    dropped: CAPACITY_FACTORS.map((factor) => {
      const capacity = Math.ceil((factor * assignments) / experts);
      return share(
        uses.reduce((sum, count) => sum + Math.max(0, count - capacity), 0),
        assignments,
      );
    }),
  };
}
