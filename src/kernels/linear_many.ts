import decode from "../../shaders/decode.wgsl?raw";
import source from "../../shaders/linear_many.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";
import { matrixConstants } from "./decode.ts";

export const linearMany = defineKernel({
  name: "linear_many",
  source: [prelude, decode, source],
  bindings: { x: "read", w: "read", y: "read_write" },
  constants: { height: "u32", ...matrixConstants("w") },
});
