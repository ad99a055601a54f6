import source from "../../shaders/layer_norm.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const layerNorm = defineKernel({
  name: "layer_norm",
  source: [prelude, source],
  bindings: { x: "read", weight: "read", bias: "read", y: "read_write" },
  numbers: { width: "u32", offset: "u32", shift: "u32", share: "f32", eps: "f32" },
});
