import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/swiglu.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const swiglu = defineKernel({
  name: "swiglu",
  source: [prelude, source],
  bindings: { gate: "read", up: "read", y: "read_write" },
  constants: { width: "u32" },
});
