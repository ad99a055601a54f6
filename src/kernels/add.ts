import source from "../../shaders/add.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const add = defineKernel({
  name: "add",
  source: [prelude, source],
  bindings: { a: "read", b: "read", y: "read_write" },
  numbers: { width: "u32" },
});
