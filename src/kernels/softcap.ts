import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/softcap.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const softcap = defineKernel({
  name: "softcap",
  source: [prelude, source],
  bindings: { x: "read", y: "read_write" },
  numbers: { width: "u32", cap: "f32" },
});
