import type { Activation, MoeLayer, Ops, RoutingRule, Scores, Tensor } from "../ops/ops.ts";
import type { Builder, Layer } from "./builder.ts";
import { feedForwardLinear, linear, type MakeLinear, type Names, sum } from "./linear.ts";

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

export const GELU: Activation = { kind: "gelu" };
const SIGMOID: Activation = { kind: "sigmoid" };

/** The names of the three matrices of a gated feed-forward layer. */
export type GatedNames = Readonly<Record<"gate" | "up" | "down", Names>>;

/** The usual names below a prefix. */
export const gatedUnder = (prefix: string): GatedNames => ({
  gate: `${prefix}.gate_proj`,
  up: `${prefix}.up_proj`,
  down: `${prefix}.down_proj`,
});

/**
 * down(activation(gate x) * up x), of products that `make` makes. gate, up [F, D]; down [D, F].
 * (Shazeer 2020)
 */
export function gated(
  m: Builder,
  names: GatedNames,
  [hidden, width]: readonly [F: number, D: number],
  make: MakeLinear,
  activation: Activation,
): Layer {
  const gate = make(m, names.gate, [hidden, width]);
  const up = make(m, names.up, [hidden, width]);
  const down = make(m, names.down, [width, hidden]);
  return (ops, x) => down(ops, ops.gate(gate(ops, x), up(ops, x), activation));
}

/** A dense SwiGLU of `prefix.gate_proj`, `.up_proj` and `.down_proj`. */
export const swiglu = (m: Builder, prefix: string, size: readonly [F: number, D: number]): Layer =>
  gated(m, gatedUnder(prefix), size, feedForwardLinear, SILU);

/** An expert that serves every token, beside the routed ones: a SwiGLU. */
export const sharedExpert = (m: Builder, prefix: string, size: readonly [F: number, D: number]): Layer =>
  gated(m, gatedUnder(prefix), size, linear, SILU);

/** sigmoid(gate x) * f(x), with one gate [T, 1] for all numbers of a row. */
export const weighed =
  (gate: Layer, f: Layer): Layer =>
  (ops, x) =>
    ops.gate(gate(ops, x), f(ops, x), SIGMOID);

/** Softmax over all logits; of the variants the others say only what differs. */
export const SOFTMAX: Scores = {
  kind: "scores",
  score: "softmax",
  choiceBias: null,
  groups: null,
  renormalise: null,
  scale: 1,
  expertScale: null,
};

/**
 * A sparse mixture of experts: each token is served by the few that a router picks. (Shazeer et al.
 * 2017)
 */
export const mixture = (router: Layer, rule: RoutingRule, layer: MoeLayer): FeedForward => ({
  feedForward: (ops, x) => ops.experts(x, ops.route(router(ops, x), layer.top, rule), layer),
  guess: (ops, x) => ops.guess(router(ops, x), rule, layer),
});

/** The same experts with another layer's answer added: a shared expert's. */
export const besides = ({ feedForward, guess }: FeedForward, shared: Layer): FeedForward => ({
  feedForward: sum(feedForward, shared),
  ...(guess ? { guess } : {}),
});
