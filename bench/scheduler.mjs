/**
 * `node bench/scheduler.mjs [--tokens 600]`: what the expert pool's bookkeeping costs per generated token, in microseconds of JavaScript, on a device that
 * computes nothing and reads that come at once; and passes and bytes per token, counted. Bundled first, as the package is.
 */
import { parseArgs } from "node:util";
import { withBundle } from "./bundled.mjs";

const { values } = parseArgs({ options: { tokens: { type: "string", default: "600" } } });
await withBundle("scheduler", ({ bench }) => bench(Number(values.tokens)));
