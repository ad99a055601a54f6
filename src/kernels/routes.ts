/**
 * The sections of a routes buffer, in words, as `routes.wgsl` lays them out for E experts, A of
 * them per token.
 */
const MAX_TOKENS = 256;
/** Pairs of one expert that are computed together. */
const TILE = 32;

const chosenAt = (experts: number, top: number): number => 4 * experts + 2 + 2 * ((MAX_TOKENS / TILE) * top + experts);

/**
 * The words where the chosen experts begin, where their weights begin, and where the buffer ends.
 */
export function routesLayout(experts: number, top: number) {
  const chosen = chosenAt(experts, top);
  return { chosen, weights: chosen + MAX_TOKENS * top, end: chosen + 3 * MAX_TOKENS * top };
}

/** The most tiles that `tokens` tokens make. */
export const mostTiles = (tokens: number, experts: number, top: number): number =>
  Math.floor((tokens * top) / TILE) + Math.min(experts, tokens * top);
