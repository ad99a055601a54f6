import source from "../../shaders/combine.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import routes from "../../shaders/routes.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const combine = defineKernel({
  name: "combine",
  source: [prelude, routes, source],
  bindings: { x: "read", routes: "read", y: "read_write" },
  constants: { experts: "u32", top: "u32" },
  numbers: { width: "u32" },
});
