import type { Builder, Layer } from "./builder.ts";

/**
 * RMSNorm over runs of `width` numbers: a whole row of that width, or each head of a projection.
 */
export function rmsNorm(m: Builder, module: string, width: number, eps: number): Layer {
  const w = m.weight({ names: [{ module }], shape: [1, width], role: "norm" });
  return (ops, x) => ops.rmsNorm(x, w, eps);
}
