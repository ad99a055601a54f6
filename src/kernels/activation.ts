import type { ConstantType } from "../gpu/kernel.ts";

/** The overrides of a shader that is preceded by `activation.wgsl`. */
export const ACTIVATION_CONSTANTS = { activation: "u32", alpha: "f32", limit: "f32" } as const satisfies Record<
  string,
  ConstantType
>;

/** The numbers by which `activation.wgsl` knows each kind. */
export const ACTIVATIONS = { silu: 0, gelu: 1, sigmoid: 2, identity: 3, clampedSwiglu: 4 } as const;
