import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/scale.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const scale = defineKernel({
  name: "scale",
  source: [prelude, source],
  bindings: { x: "read", y: "read_write" },
  numbers: { width: "u32", factor: "f32" },
});
