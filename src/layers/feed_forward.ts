import type { MoeLayer, Ops, Tensor, Weight } from "../ops/ops.ts";

export interface FeedForward {
  /** [T, D] -> [T, D]. */
  run(ops: Ops, x: Tensor): Tensor;
  /** Guesses what this layer will want, in front of an earlier one. */
  guess?(ops: Ops, x: Tensor): void;
}

/** w2(silu(w1 x) * w3 x). w1, w3 [F, D]; w2 [D, F]. */
export const swiglu = (w1: Weight, w2: Weight, w3: Weight): FeedForward => ({
  run: (ops, x) => ops.linear(ops.swiglu(ops.linear(x, w1), ops.linear(x, w3)), w2),
});

/** A sparse mixture of SwiGLU experts. router [E, D]. */
export const mixture = (router: Weight, layer: MoeLayer): FeedForward => ({
  run: (ops, x) => ops.moe(x, router, layer),
  guess: (ops, x) => ops.guess(x, router, layer),
});
