import type { Builder, Layer } from "./builder.ts";
import { vector } from "./linear.ts";

/**
 * RMSNorm over runs of `width` numbers: a whole row of that width, or each head of a projection.
 * (Zhang and Sennrich 2019)
 */
export function rmsNorm(m: Builder, module: string, width: number, eps: number): Layer {
  const w = vector(m, module, width);
  return (ops, x) => ops.rmsNorm(x, w, eps);
}

/** As `rmsNorm`, of a weight that is published less 1. */
export function rmsNormPlusOne(m: Builder, module: string, width: number, eps: number): Layer {
  const w = m.weight({ names: [{ module }], shape: [1, width], role: "norm", plus: 1 });
  return (ops, x) => ops.rmsNorm(x, w, eps);
}

/** LayerNorm, with a bias. (Ba et al. 2016) */
export function layerNorm(m: Builder, module: string, width: number, eps: number): Layer {
  const [w, b] = [vector(m, module, width), vector(m, `${module}.bias`, width)];
  return (ops, x) => ops.layerNorm(x, w, b, eps);
}
