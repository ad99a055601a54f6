import bias from "../../shaders/bias.wgsl?raw";
import decode from "../../shaders/decode.wgsl?raw";
import source from "../../shaders/expert_down_many.wgsl?raw";
import pages from "../../shaders/pages.wgsl?raw";
import prelude from "../../shaders/prelude.wgsl?raw";
import routes from "../../shaders/routes.wgsl?raw";
import { defineKernel } from "../gpu/kernel.ts";
import { EXPERT_DOWN } from "./experts.ts";

export const expertDownMany = defineKernel({
  name: "expert_down_many",
  source: [prelude, decode, routes, pages, bias, source],
  ...EXPERT_DOWN,
});
