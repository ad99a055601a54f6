/** `npm run inspect -- URL_OR_DIR [--budget 2GB]`: what a model is made of, without loading its weights. */
import { parseArgs } from "node:util";
import { MixtabError } from "../src/base/errors.ts";
import { Connections } from "../src/engine/connections.ts";
import { denseModule } from "../src/engine/dense.ts";
import { ExpertLibrary } from "../src/engine/library.ts";
import { slotsFor } from "../src/engine/load.ts";
import { ProgressMeter } from "../src/engine/progress.ts";
import { openRepository } from "../src/engine/repository.ts";
import { readModel } from "../src/models/index.ts";
import { openArgument } from "./model_argument.ts";
import { formatBytes, parseBytes, runCommand } from "./shell.ts";

await runCommand(async (args) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { budget: { type: "string", default: "2GB" }, "as-published": { type: "boolean", default: false } },
  });
  const [argument] = positionals;
  if (argument === undefined || positionals.length !== 1)
    throw new MixtabError("bad-request", "npm run inspect -- URL_OR_DIR [--budget 2GB] [--as-published]");
  const quantize = !values["as-published"];
  const { source } = openArgument(argument);
  const repository = await openRepository(source, null, "");
  const { checkpoint } = repository;
  const spec = readModel(repository.config);
  const say = (name: string, value: string | number) => console.log(`${name.padEnd(20)} ${value}`);

  const modules = Object.entries(spec.weights).map(([key, weight]) => denseModule(key, weight, checkpoint, quantize));
  const denseBytes = modules.reduce((sum, { matrix }) => sum + matrix.end, 0);
  say("model", source.name);
  say("architecture", spec.modelType);
  say("layers", spec.layers);
  say("width", spec.width);
  say("vocabulary", spec.vocabulary);
  say("positions", spec.positions);
  say("window", spec.window ?? "none");
  say("dense", `${formatBytes(denseBytes)} in ${modules.length} matrices`);
  if (!spec.experts) return 0;

  const places = {
    source,
    store: null,
    prefix: "",
    connections: new Connections(),
    meter: new ProgressMeter(undefined),
  };
  const library = new ExpertLibrary(spec.experts, spec.width, checkpoint, quantize, places);
  const { layers, experts, top } = spec.experts;
  const budgetBytes = parseBytes(values.budget);
  const slots = slotsFor(library, { budgetBytes });
  const { w1 } = library.layout(0);
  const type =
    w1.encoding.kind === "plain" ? w1.encoding.dtype : `${w1.encoding.bits}-bit, groups of ${w1.encoding.group}`;
  say("experts", `${experts} per layer, ${top} per token, ${type}`);
  say("records", `${layers * experts} of at most ${formatBytes(library.recordBytes)}`);
  say("experts in all", formatBytes(library.totalBytes));
  say("read per token", `${formatBytes(layers * top * library.recordBytes)} of experts`);
  say("smallest budget", `${formatBytes(top * library.recordBytes)} (${top} slots)`);
  say(
    "budget",
    `${formatBytes(budgetBytes)}: ${slots} slots, ${((100 * slots) / (layers * experts)).toFixed(0)} % of the experts`,
  );
  return 0;
});
