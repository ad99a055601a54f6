import source from "../../shaders/kv_write.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const kvWrite = defineKernel({
  name: "kv_write",
  source: [prelude, source],
  bindings: { k: "read", v: "read", keys: "read_write", values: "read_write" },
  numbers: { width: "u32", ring: "u32" },
});
