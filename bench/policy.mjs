/**
 * `node bench/policy.mjs [--tokens 400] [--sweep]`: measures what choosing victims costs per token,
 * in microseconds of JavaScript, for 48 layers of 128 experts, of which a token uses 8. With
 * `--sweep` it prints hit rates on the recorded traces for several values of the policy's two
 * constants instead.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { withBundle } from "./bundled.mjs";

const { values } = parseArgs({
  options: { tokens: { type: "string", default: "400" }, sweep: { type: "boolean", default: false } },
});
await withBundle("policy", async ({ bench, sweep }) => {
  if (values.sweep) await sweep(join(import.meta.dirname, "../test/fixtures/traces"));
  else bench(Number(values.tokens));
});
