import source from "../../shaders/last_row.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const lastRow = defineKernel({
  name: "last_row",
  source: [prelude, source],
  bindings: { x: "read", y: "read_write" },
  numbers: { width: "u32" },
});
