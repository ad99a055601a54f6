import type { Cache, Ops, Tensor, Weight } from "../ops/ops.ts";

export interface AttentionParts {
  readonly wq: Weight; // [H * C, D]
  readonly wk: Weight; // [K * C, D]
  readonly wv: Weight; // [K * C, D]
  readonly wo: Weight; // [D, H * C]
  /** cos and sin of each position, [positions, C]. */
  readonly rope: Weight;
  readonly headWidth: number;
}

/** Grouped-query attention with rotary positions over the layer's cache (Ainslie et al. 2023). [T, D] -> [T, D] */
export const attention =
  (ops: Ops, { wq, wk, wv, wo, rope, headWidth }: AttentionParts, cache: Cache) =>
  (x: Tensor): Tensor => {
    const q = ops.rope(ops.linear(x, wq), rope);
    const k = ops.rope(ops.linear(x, wk), rope);
    return ops.linear(ops.attend(q, k, ops.linear(x, wv), cache, headWidth), wo);
  };
