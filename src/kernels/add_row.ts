import source from "../../shaders/add_row.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const addRow = defineKernel({
  name: "add_row",
  source: [prelude, source],
  bindings: { x: "read", bias: "read", y: "read_write" },
  numbers: { width: "u32", offset: "u32" },
});
