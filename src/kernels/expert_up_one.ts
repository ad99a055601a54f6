import activation from "../../shaders/activation.wgsl?raw";
import bias from "../../shaders/bias.wgsl?raw";
import decode from "../../shaders/decode.wgsl?raw";
import source from "../../shaders/expert_up_one.wgsl?raw";
import pages from "../../shaders/pages.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import routes from "../../shaders/routes.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";
import { ACTIVATION_CONSTANTS } from "./activation.ts";
import { biasConstants, biasNumbers } from "./bias.ts";
import { matrixConstants, matrixNumbers } from "./decode.ts";

export const expertUpOne = defineKernel({
  name: "expert_up_one",
  source: [prelude, decode, activation, routes, pages, bias, source],
  bindings: {
    page_0: "read",
    page_1: "read",
    page_2: "read",
    page_3: "read",
    routes: "read",
    x: "read",
    up: "read_write",
  },
  constants: {
    experts: "u32",
    top: "u32",
    ...ACTIVATION_CONSTANTS,
    ...matrixConstants("w1"),
    ...matrixConstants("w3"),
    ...biasConstants("b1"),
    ...biasConstants("b3"),
  },
  numbers: {
    columns: "u32",
    height: "u32",
    ...matrixNumbers("w1"),
    ...matrixNumbers("w3"),
    ...biasNumbers("b1"),
    ...biasNumbers("b3"),
  },
});
