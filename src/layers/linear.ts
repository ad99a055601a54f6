import type { Builder, Layer, WeightSpec } from "./builder.ts";

/** The name of a matrix, or several under which it may be published. */
export type Names = string | readonly string[];

/** y = W x. W [out, in]. */
export const linear = (m: Builder, names: Names, shape: WeightSpec["shape"]): Layer =>
  product(m, names, shape, "linear");

/**
 * The logits of a router [E, D]. It is never quantised on arrival, since a small error would choose
 * other experts.
 */
export const router = (m: Builder, names: Names, shape: WeightSpec["shape"]): Layer =>
  product(m, names, shape, "router");

/** Applies layers one after the other: chain(f, g)(x) = g(f(x)). */
export const chain =
  (...layers: readonly Layer[]): Layer =>
  (ops, x) =>
    layers.reduce((y, layer) => layer(ops, y), x);

function product(m: Builder, names: Names, shape: WeightSpec["shape"], role: WeightSpec["role"]): Layer {
  const w = m.weight({ names: [names].flat().map((module) => ({ module })), shape, role });
  return (ops, x) => ops.linear(x, w);
}
