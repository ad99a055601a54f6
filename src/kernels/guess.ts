import source from "../../shaders/guess.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const guess = defineKernel({
  name: "guess",
  source: [prelude, source],
  state: "read_write",
  bindings: { keys: "read" },
  constants: { experts: "u32", top: "u32" },
  numbers: { guessed: "u32" },
});
