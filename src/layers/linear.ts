import type { Builder, Layer, WeightSpec } from "./builder.ts";

/** The name of a matrix, or several under which it may be published. */
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
 * The logits of a router [E, D]. As a rule it is kept as published, since a small error would choose
 * other experts. `mlx`: what mlx_lm makes of it, where that is not 4 bits.
 */
export const router = (
  m: Builder,
  names: Names,
  shape: WeightSpec["shape"],
  mlx: Pick<WeightSpec, "mlxBits"> = {},
): Layer => product(m, names, { shape, role: "router", ...mlx });

/** Applies layers one after the other: chain(f, g)(x) = g(f(x)). */
export const chain =
  (...layers: readonly Layer[]): Layer =>
  (ops, x) =>
    layers.reduce((y, layer) => layer(ops, y), x);

function product(m: Builder, names: Names, spec: Omit<WeightSpec, "names">): Layer {
  const w = m.weight({ names: [names].flat().map((module) => ({ module })), ...spec });
  return (ops, x) => ops.linear(x, w);
}
