/**
 * `node bench/scheduler.mjs [--tokens 600]`: measures what the bookkeeping of the expert pool costs
 * per generated token, in microseconds of JavaScript, on a device that computes nothing and with
 * reads that end at once. It also counts passes and bytes per token. The code is bundled first, as
 * the package is.
 */
import { parseArgs } from "node:util";
import { withBundle } from "./bundled.mjs";

const { values } = parseArgs({ options: { tokens: { type: "string", default: "600" } } });
await withBundle("scheduler", ({ bench }) => bench(Number(values.tokens)));
