import type { Activation, MoeLayer, Ops, RoutingRule, Scores, Tensor } from "../ops/ops.ts";
import type { Builder, Layer } from "./builder.ts";
import { feedForwardLinear } from "./linear.ts";

/** What a block does after attention. */
export interface FeedForward {
  /** [T, D] -> [T, D]. */
  readonly feedForward: Layer;
  /**
   * Guesses which experts this layer will want; called in front of an earlier layer, with the
   * residual there as x.
   */
  readonly guess?: (ops: Ops, x: Tensor) => void;
}

export const SILU: Activation = { kind: "silu" };

/** Softmax over all logits; other rules say what they differ in. */
export const SOFTMAX: Scores = {
  kind: "scores",
  score: "softmax",
  choiceBias: null,
  groups: null,
  renormalise: null,
  scale: 1,
  expertScale: null,
};

/** A dense SwiGLU: down(silu(gate x) * up x). gate, up [F, D]; down [D, F]. (Shazeer 2020) */
export function swiglu(m: Builder, prefix: string, [hidden, width]: readonly [F: number, D: number]): Layer {
  const gate = feedForwardLinear(m, `${prefix}.gate_proj`, [hidden, width]);
  const up = feedForwardLinear(m, `${prefix}.up_proj`, [hidden, width]);
  const down = feedForwardLinear(m, `${prefix}.down_proj`, [width, hidden]);
  return (ops, x) => down(ops, ops.gate(gate(ops, x), up(ops, x), SILU));
}

/**
 * A sparse mixture of experts: each token is served by the few that a router picks. (Shazeer et al.
 * 2017)
 */
export const mixture = (router: Layer, rule: RoutingRule, layer: MoeLayer): FeedForward => ({
  feedForward: (ops, x) => ops.experts(x, ops.route(router(ops, x), layer.top, rule), layer),
  guess: (ops, x) => ops.guess(router(ops, x), rule, layer),
});
