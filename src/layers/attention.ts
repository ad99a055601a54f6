import type { Attention } from "../ops/ops.ts";
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
  readonly over: Attention;
}

/** Grouped-query attention over the layer's cache (Ainslie et al. 2023). [T, D] -> [T, D] */
export const attention =
  ({ q, k, v, o, over }: AttentionParts): Layer =>
  (ops, x) =>
    o(ops, ops.attend(q(ops, x), k(ops, x), v(ops, x), over));
