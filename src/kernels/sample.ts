import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/sample.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const sample = defineKernel({
  name: "sample",
  source: [prelude, source],
  state: "read_write",
  bindings: { logits: "read" },
  numbers: { vocabulary: "u32" },
});
