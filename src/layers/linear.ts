import type { Builder, Layer, WeightSpec } from "./builder.ts";

/** The name of a matrix, or those it may go by. */
export type Names = string | readonly string[];

/** y = W x. W [out, in]. */
export const linear = (m: Builder, names: Names, shape: WeightSpec["shape"]): Layer =>
  product(m, names, { shape, role: "linear" });

/** As `linear`, in a dense feed-forward layer. */
export const feedForwardLinear = (m: Builder, names: Names, shape: WeightSpec["shape"]): Layer =>
  product(m, names, { shape, role: "feedForward" });

/** The logits of the vocabulary [V, D]. */
export const head = (m: Builder, names: Names, shape: WeightSpec["shape"]): Layer =>
  product(m, names, { shape, role: "head" });

/**
 * The logits of a router [E, D], which is kept as published as a rule, since a small error picks
 * other experts. `mlx`: what mlx_lm makes of it, where that is not 4 bits.
 */
export const router = (
  m: Builder,
  names: Names,
  shape: WeightSpec["shape"],
  mlx: Pick<WeightSpec, "mlxBits"> = {},
): Layer => product(m, names, { shape, role: "router", ...mlx });

/** One layer after the other. */
export const chain =
  (...layers: readonly Layer[]): Layer =>
  (ops, x) =>
    layers.reduce((y, layer) => layer(ops, y), x);

function product(m: Builder, names: Names, spec: Omit<WeightSpec, "names">): Layer {
  const w = m.weight({ names: [names].flat().map((module) => ({ module })), ...spec });
  return (ops, x) => ops.linear(x, w);
}
