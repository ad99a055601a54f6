import activation from "../../shaders/activation.wgsl?raw";
import bias from "../../shaders/bias.wgsl?raw";
import decode from "../../shaders/decode.wgsl?raw";
import source from "../../shaders/expert_up_one.wgsl?raw";
import pages from "../../shaders/pages.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import routes from "../../shaders/routes.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";
import { EXPERT_UP } from "./experts.ts";

export const expertUpOne = defineKernel({
  name: "expert_up_one",
  source: [prelude, decode, activation, routes, pages, bias, source],
  ...EXPERT_UP,
});
