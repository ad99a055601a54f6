import activation from "../../shaders/activation.wgsl?raw";
import source from "../../shaders/gate.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";
import { ACTIVATION_CONSTANTS } from "./activation.ts";

export const gate = defineKernel({
  name: "gate",
  source: [prelude, activation, source],
  bindings: { gate: "read", up: "read", y: "read_write" },
  constants: ACTIVATION_CONSTANTS,
  numbers: { width: "u32", run: "u32" },
});
