import source from "../../shaders/attend_one.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const attendOne = defineKernel({
  name: "attend_one",
  source: [prelude, source],
  bindings: { q: "read", keys: "read", values: "read", partial: "read_write" },
  constants: { head_width: "u32" },
  numbers: { heads: "u32", kv_heads: "u32", ring: "u32", window: "u32", factor: "f32", splits: "u32" },
});
