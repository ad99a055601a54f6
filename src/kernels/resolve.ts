import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/resolve.wgsl?raw";
import routes from "../../shaders/routes.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const resolve = defineKernel({
  name: "resolve",
  source: [prelude, routes, source],
  state: "read_write",
  bindings: { directory: "read", routes: "read_write" },
  constants: { experts: "u32", top: "u32" },
  numbers: { layer: "u32", layers: "u32", stride: "u32" },
});
