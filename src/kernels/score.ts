import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/score.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const score = defineKernel({
  name: "score",
  source: [prelude, source],
  bindings: { logits: "read", bias: "read", shares: "read_write", keys: "read_write" },
  constants: { experts: "u32", is_sigmoid: "bool", has_bias: "bool", groups: "u32" },
  numbers: { best: "u32", offset: "u32" },
});
