import type { Weight } from "../ops/ops.ts";
import type { Builder, Layer, WeightSpec } from "./builder.ts";

/** The name of a matrix, or several under which it may be published. */
export type Names = string | readonly string[];

/** Makes a product with a matrix [out, in]: [T, in] -> [T, out]. */
export type MakeLinear = (m: Builder, names: Names, shape: WeightSpec["shape"]) => Layer;

/** y = W x. */
export const linear = product({ role: "linear" });

/** As `linear`, in a dense feed-forward layer. */
export const feedForwardLinear = product({ role: "feedForward" });

/** The logits of the vocabulary [V, D]. */
export const head = product({ role: "head" });

/**
 * The logits of a router [E, D]. As a rule it is kept as published, since a small error would choose
 * other experts.
 */
export const router = product({ role: "router" });

/** As `linear` and `router`, where mlx_lm takes 8 bits and not 4. */
export const linearOf8Bits = product({ role: "linear", mlxBits: 8 });
export const routerOf8Bits = product({ role: "router", mlxBits: 8 });

function product(spec: Pick<WeightSpec, "role" | "mlxBits">): MakeLinear {
  return (m, names, shape) => {
    const w = m.weight({ names: [names].flat().map((module) => ({ module })), shape, ...spec });
    return (ops, x) => ops.linear(x, w);
  };
}

/** y = W x + b, for any kind of product; b is `<name>.bias` [out]. */
export const biased =
  (make: MakeLinear): MakeLinear =>
  (m, names, shape) =>
    chain(make(m, names, shape), bias(m, names, shape[0]));

/** y = x + b. b is `<name>.bias` [width]. */
export function bias(m: Builder, names: Names, width: number): Layer {
  const b = vector(
    m,
    [names].flat().map((name) => `${name}.bias`),
    width,
  );
  return (ops, x) => ops.addRow(x, b);
}

/** A vector [1, width], in f32. */
export const vector = (m: Builder, names: Names, width: number): Weight =>
  m.weight({ names: [names].flat().map((module) => ({ module })), shape: [1, width], role: "norm" });

/** y = factor * x. */
export const scaled =
  (factor: number): Layer =>
  (ops, x) =>
    ops.scale(x, factor);

/** y = f(x) + g(x). */
export const sum =
  (f: Layer, g: Layer): Layer =>
  (ops, x) =>
    ops.add(f(ops, x), g(ops, x));

/** Applies layers one after the other: chain(f, g)(x) = g(f(x)). */
export const chain =
  (...layers: readonly Layer[]): Layer =>
  (ops, x) =>
    layers.reduce((y, layer) => layer(ops, y), x);
