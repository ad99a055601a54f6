import source from "../../shaders/gate.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const gate = defineKernel({
  name: "gate",
  source: [prelude, source],
  bindings: { gate: "read", up: "read", y: "read_write" },
  constants: { width: "u32" },
});
