import type { Cache } from "../ops/ops.ts";
import type { Layer } from "./builder.ts";

export interface AttentionParts {
  /** [T, D] -> [T, H * C], rotated. */
  readonly q: Layer;
  /** [T, D] -> [T, K * C], rotated. */
  readonly k: Layer;
  /** [T, D] -> [T, K * C]. */
  readonly v: Layer;
  /** [T, H * C] -> [T, D]. */
  readonly o: Layer;
  readonly cache: Cache;
  /** C. */
  readonly headWidth: number;
}

/** Grouped-query attention over the layer's cache (Ainslie et al. 2023). [T, D] -> [T, D] */
export const attention =
  ({ q, k, v, o, cache, headWidth }: AttentionParts): Layer =>
  (ops, x) =>
    o(
      ops,
      ops.attend(q(ops, x), k(ops, x), v(ops, x), { cache, headWidth, divisor: Math.sqrt(headWidth), sinks: null }),
    );
