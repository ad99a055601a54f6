import decode from "../../shaders/decode.wgsl?raw";
import source from "../../shaders/linear_one.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";
import { matrixConstants, matrixNumbers } from "./decode.ts";

export const linearOne = defineKernel({
  name: "linear_one",
  source: [prelude, decode, source],
  bindings: { x: "read", w: "read", y: "read_write" },
  constants: { ...matrixConstants("w") },
  numbers: { columns: "u32", height: "u32", ...matrixNumbers("w") },
});
