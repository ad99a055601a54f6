import decode from "../../shaders/decode.wgsl?raw";
import source from "../../shaders/embed.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";
import { matrixConstants, matrixNumbers } from "./decode.ts";

export const embed = defineKernel({
  name: "embed",
  source: [prelude, decode, source],
  bindings: { w: "read", y: "read_write" },
  constants: { ...matrixConstants("w") },
  numbers: { columns: "u32", ...matrixNumbers("w") },
});
