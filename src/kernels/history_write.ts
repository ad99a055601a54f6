import source from "../../shaders/history_write.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const historyWrite = defineKernel({
  name: "history_write",
  source: [prelude, source],
  bindings: { x: "read", history: "read_write" },
  numbers: { width: "u32", ring: "u32" },
});
