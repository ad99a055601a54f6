import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/score.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const score = defineKernel({
  name: "score",
  source: [prelude, source],
  bindings: { logits: "read", bias: "read", shares: "read_write", keys: "read_write" },
  constants: { is_sigmoid: "bool", has_bias: "bool" },
  numbers: { experts: "u32", groups: "u32", best: "u32", offset: "u32" },
});
