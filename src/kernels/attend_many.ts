import source from "../../shaders/attend_many.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const attendMany = defineKernel({
  name: "attend_many",
  source: [prelude, source],
  bindings: { q: "read", keys: "read", values: "read", sinks: "read", y: "read_write" },
  constants: {
    head_width: "u32",
    has_sinks: "bool",
  },
  numbers: { heads: "u32", kv_heads: "u32", ring: "u32", window: "u32", factor: "f32" },
});
