import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/rms_norm.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const rmsNorm = defineKernel({
  name: "rms_norm",
  source: [prelude, source],
  bindings: { x: "read", weight: "read", y: "read_write" },
  numbers: { width: "u32", offset: "u32", share: "f32", eps: "f32" },
});
