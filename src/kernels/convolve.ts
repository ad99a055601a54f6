import source from "../../shaders/convolve.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const convolve = defineKernel({
  name: "convolve",
  source: [prelude, source],
  bindings: { history: "read", w: "read", y: "read_write" },
  numbers: { width: "u32", ring: "u32", taps: "u32", offset: "u32" },
});
