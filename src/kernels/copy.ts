import source from "../../shaders/copy.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const copy = defineKernel({
  name: "copy",
  source: [prelude, source],
  bindings: { x: "read", y: "read_write" },
  numbers: { width: "u32", offset: "u32" },
});
