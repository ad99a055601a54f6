import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/route_many.wgsl?raw";
import routes from "../../shaders/routes.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const routeMany = defineKernel({
  name: "route_many",
  source: [prelude, routes, source],
  state: "read_write",
  bindings: { logits: "read", routes: "read_write" },
  constants: { experts: "u32", top: "u32", renormalise: "bool", wanted: "u32" },
});
