import type { ConstantType, NumberType } from "../gpu/kernel.ts";

/** The overrides and numbers of a shader that is preceded by `weigh.wgsl`. */
export const WEIGH_CONSTANTS = {
  rule: "u32",
  renormalise: "bool",
  has_own: "bool",
} as const satisfies Record<string, ConstantType>;
export const WEIGH_NUMBERS = {
  wanted: "u32",
  offset: "u32",
  epsilon: "f32",
  scale: "f32",
  jitter: "f32",
} as const satisfies Record<string, NumberType>;

/** The numbers by which `weigh.wgsl` knows each way. */
export const RULES = { softmax: 0, given: 1, sparsemixer: 2 } as const;
