/** What the kernels of experts share, in both forms. */
import { ACTIVATION_CONSTANTS } from "./activation.ts";
import { biasConstants, biasNumbers } from "./bias.ts";
import { matrixConstants, matrixNumbers } from "./decode.ts";

/** The slots' memory, bound first (see pages.wgsl), then the routes. */
const SLOTS = { page_0: "read", page_1: "read", page_2: "read", page_3: "read", routes: "read" } as const;
const ROUTES = { experts: "u32", top: "u32" } as const;
const SIZES = { columns: "u32", height: "u32" } as const;

/** The interface of `expert_up_one` and `expert_up_many`. */
export const EXPERT_UP = {
  bindings: { ...SLOTS, x: "read", up: "read_write" },
  constants: {
    ...ROUTES,
    ...ACTIVATION_CONSTANTS,
    ...matrixConstants("w1"),
    ...matrixConstants("w3"),
    ...biasConstants("b1"),
    ...biasConstants("b3"),
  },
  numbers: {
    ...SIZES,
    ...matrixNumbers("w1"),
    ...matrixNumbers("w3"),
    ...biasNumbers("b1"),
    ...biasNumbers("b3"),
  },
} as const;

/** The interface of `expert_down_one` and `expert_down_many`. */
export const EXPERT_DOWN = {
  bindings: { ...SLOTS, up: "read", y: "read_write" },
  constants: { ...ROUTES, ...matrixConstants("w2"), ...biasConstants("b2") },
  numbers: { ...SIZES, ...matrixNumbers("w2"), ...biasNumbers("b2") },
} as const;
