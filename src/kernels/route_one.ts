import prelude from "../../shaders/prelude.wgsl?raw";
import source from "../../shaders/route_one.wgsl?raw";
import routes from "../../shaders/routes.wgsl?raw";
import weigh from "../../shaders/weigh.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";
import { WEIGH_CONSTANTS, WEIGH_NUMBERS } from "./weigh.ts";

export const routeOne = defineKernel({
  name: "route_one",
  source: [prelude, routes, weigh, source],
  state: "read_write",
  bindings: { keys: "read", shares: "read", own: "read", routes: "read_write" },
  constants: { experts: "u32", top: "u32", ...WEIGH_CONSTANTS },
  numbers: WEIGH_NUMBERS,
});
