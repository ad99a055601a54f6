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
