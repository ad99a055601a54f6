import source from "../../shaders/attend_merge.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const attendMerge = defineKernel({
  name: "attend_merge",
  source: [prelude, source],
  bindings: { partial: "read", sinks: "read", y: "read_write" },
  constants: { head_width: "u32", has_sinks: "bool" },
  numbers: { window: "u32", splits: "u32" },
});
