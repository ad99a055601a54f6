import type { Activation } from "../ops/ops.ts";
import type { Builder, Layer } from "./builder.ts";
import { linear } from "./linear.ts";

const TIMES: Activation = { kind: "identity" };

/**
 * A gated short convolution: out(C * convolve(B * u)), with B, C, u = in x, three projections in one
 * matrix [3D, D]. Each channel is convolved over its last n tokens. [T, D] -> [T, D] (Liquid AI 2025)
 */
export function shortConvolution(m: Builder, prefix: string, width: number, n: number): Layer {
  const [b, c, u] = [0, 1, 2].map((index) => thirdOf(m, `${prefix}.in_proj`, width, index));
  const w = m.weight({ names: [{ module: `${prefix}.conv` }], shape: [width, n], role: "norm" });
  const history = m.history({ width, window: n });
  const out = linear(m, `${prefix}.out_proj`, [width, width]);
  return (ops, x) => {
    const kept = ops.convolve(ops.gate(b!(ops, x), u!(ops, x), TIMES), w, history);
    return out(ops, ops.gate(c!(ops, x), kept, TIMES));
  };
}

/** One of the three projections that lie one above the other. */
function thirdOf(m: Builder, module: string, width: number, index: number): Layer {
  const name = { module, firstRow: index * width, ofRows: 3 * width };
  const w = m.weight({ names: [name], shape: [width, width], role: "linear" });
  return (ops, x) => ops.linear(x, w);
}
