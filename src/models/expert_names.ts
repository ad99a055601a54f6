/**
 * The names under which the matrices of experts are published. `hidden` is F, the rows of a gate.
 */
import type { PublishedName } from "../base/published_name.ts";
import type { ExpertPart, ExpertsSpec } from "../layers/builder.ts";

const PROJECTIONS = { w1: "gate_proj", w2: "down_proj", w3: "up_proj" } as const satisfies Record<ExpertPart, string>;

/**
 * The names of an expert's matrix under one prefix: one by one (`experts.3.gate_proj`), stacked as
 * by MLX, fused as by transformers 5.
 */
export const expertsUnder =
  (prefix: string, hidden: number): ExpertsSpec["names"] =>
  (expert, part) => [
    { module: `${prefix}.experts.${expert}.${PROJECTIONS[part]}` },
    stackedExpert(prefix, expert, part),
    fusedExpert(prefix, hidden, expert, part),
  ];

/** As `expertsUnder`, of w1, w2 and w3 by these names: `experts.3.w1`. */
export const numberedExperts =
  (prefix: string): ExpertsSpec["names"] =>
  (expert, part) => [{ module: `${prefix}.experts.${expert}.${part}` }, stackedExpert(prefix, expert, part)];

/** MLX's `switch_mlp`: one stack [E, out, in] for each matrix. */
export const stackedExpert = (prefix: string, expert: number, part: ExpertPart): PublishedName => ({
  module: `${prefix}.switch_mlp.${PROJECTIONS[part]}`,
  stack: expert,
});

/** transformers 5: gate and up in one stack [E, 2F, D], gate rows first. */
export const fusedExpert = (prefix: string, hidden: number, expert: number, part: ExpertPart): PublishedName =>
  part === "w2"
    ? { module: `${prefix}.experts.down_proj`, bare: true, stack: expert }
    : { module: `${prefix}.experts.gate_up_proj`, bare: true, stack: expert, firstRow: part === "w1" ? 0 : hidden };

/**
 * The names of matrices in stacks [E, ...] under one prefix: MLX's (`gate_proj.weight`); MXFP4 with
 * the rows of gate and up in turn (`gate_up_proj_blocks`); the same of floats, transposed.
 */
export const alternatingExperts =
  (prefix: string): ExpertsSpec["names"] =>
  (expert, part) => {
    const both = bothOf(prefix, expert, part);
    return [
      { module: `${prefix}.${PROJECTIONS[part]}`, stack: expert },
      { ...both, blocks: true },
      { ...both, bare: true, transposed: true },
    ];
  };

/** The names of the biases of such experts: `gate_proj.bias`, or `gate_up_proj_bias` [E, 2F]. */
export const alternatingBiases =
  (prefix: string): ExpertsSpec["names"] =>
  (expert, part) => {
    const both = bothOf(prefix, expert, part);
    return [
      { module: `${prefix}.${PROJECTIONS[part]}.bias`, bare: true, stack: expert },
      { ...both, module: `${both.module}_bias`, bare: true },
    ];
  };

const bothOf = (prefix: string, expert: number, part: ExpertPart): PublishedName =>
  part === "w2"
    ? { module: `${prefix}.down_proj`, stack: expert }
    : { module: `${prefix}.gate_up_proj`, stack: expert, everySecond: part === "w1" ? 0 : 1 };
