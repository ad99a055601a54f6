/**
 * `npm run analyse -- TRACE`: prints what the routing of a recorded conversation looks like, in the
 * quantities of the Mixtral paper.
 */
import { parseArgs } from "node:util";
import { MixtabError } from "../src/base/errors.ts";
import { readRouteTrace } from "./route_trace.ts";
import { analyseRouting, CAPACITY_FACTORS } from "./routing.ts";
import { runCommand } from "./shell.ts";

const USAGE = `npm run analyse -- TRACE [--json]

TRACE: a CSV as engine.trace() writes it. Per layer: the busiest and idlest expert, repetition of consecutive tokens beside chance, the load-balance quantity
E * sum(f * P) of Switch (f: first choices; P: mean weight, from the chosen experts' weights as they are mixed, which is all that a trace has), and what expert
capacities of ceil(factor * tokens * chosen / experts) would have dropped (mixtab drops none). Prompt and generated tokens count alike.`;

await runCommand(async (args) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean", default: false }, help: { type: "boolean", default: false } },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const [path] = positionals;
  if (path === undefined || positionals.length > 1)
    throw new MixtabError("bad-request", `One trace is wanted, and ${positionals.length} are named.\n${USAGE}`);
  const trace = await readRouteTrace(path);
  const routing = analyseRouting(trace);
  if (values.json) {
    console.log(JSON.stringify(routing, null, 2));
    return 0;
  }
  const { model, layers, experts, top } = trace;
  console.log(`${model}: ${layers} layers, ${top} of ${experts} experts, ${routing.layers[0]!.tokens} tokens\n`);
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const line = (cells: readonly string[]) => console.log(cells.map((cell) => cell.padStart(17)).join(""));
  const capacities = CAPACITY_FACTORS.map((factor) => `dropped at ${factor}`);
  line(["layer", "busiest", "idlest", "first again", "either again", "load balance", ...capacities]);
  for (const { layer, shares, firstRepeats, eitherRepeats, loadBalance, dropped } of routing.layers) {
    const [most, least] = [Math.max(...shares), Math.min(...shares)];
    line([
      String(layer),
      `${shares.indexOf(most)}: ${percent(most)}`,
      `${shares.indexOf(least)}: ${percent(least)}`,
      percent(firstRepeats),
      percent(eitherRepeats),
      loadBalance === null ? "no weights" : loadBalance.toFixed(3),
      ...dropped.map(percent),
    ]);
  }
  const even = percent(1 / experts);
  line(["chance", even, even, percent(routing.randomFirst), percent(routing.randomEither), "1.000", "", "", ""]);
  console.log("\nShares are of a layer's assignments; --json lists those of every expert.");
  return 0;
});
