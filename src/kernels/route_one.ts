import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/route_one.wgsl?raw";
import routes from "../../shaders/routes.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";

export const routeOne = defineKernel({
  name: "route_one",
  source: [prelude, routes, source],
  state: "read_write",
  bindings: { logits: "read", routes: "read_write" },
  constants: { experts: "u32", top: "u32", renormalise: "bool", wanted: "u32" },
});
