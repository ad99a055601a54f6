import type { Builder, Layer } from "./builder.ts";

/**
 * Rotates each head of `headWidth` numbers by its token's position. `frequencies`: θ_i, one for
 * each two channels that turn; cos and sin are multiplied by `scale`. (Su et al. 2021)
 */
export function rotation(
  m: Builder,
  { frequencies, scale }: { readonly frequencies: Float32Array; readonly scale: number },
  headWidth: number,
  pairs: "halves" | "adjacent",
): Layer {
  const table = m.rope(frequencies, scale);
  return (ops, x) => ops.rope(x, table, { headWidth, pairs });
}
