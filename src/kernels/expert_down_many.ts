import bias from "../../shaders/bias.wgsl?raw";
import decode from "../../shaders/decode.wgsl?raw";
import source from "../../shaders/expert_down_many.wgsl?raw";
import pages from "../../shaders/pages.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import routes from "../../shaders/routes.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";
import { biasConstants, biasNumbers } from "./bias.ts";
import { matrixConstants, matrixNumbers } from "./decode.ts";

export const expertDownMany = defineKernel({
  name: "expert_down_many",
  source: [prelude, decode, routes, pages, bias, source],
  bindings: {
    page_0: "read",
    page_1: "read",
    page_2: "read",
    page_3: "read",
    routes: "read",
    up: "read",
    y: "read_write",
  },
  constants: { experts: "u32", top: "u32", ...matrixConstants("w2"), ...biasConstants("b2") },
  numbers: { columns: "u32", height: "u32", ...matrixNumbers("w2"), ...biasNumbers("b2") },
});
