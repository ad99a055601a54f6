import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/rope.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const rope = defineKernel({
  name: "rope",
  source: [prelude, source],
  bindings: { x: "read", table: "read", y: "read_write" },
  numbers: { width: "u32", head_width: "u32", turned: "u32", offset: "u32", step: "u32", apart: "u32" },
});
