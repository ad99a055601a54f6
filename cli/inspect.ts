/**
 * `npm run inspect -- MODEL [--budget 2GB] [--quantize auto|mlx|false]`: what a model is made of and what a
 * budget buys, without loading its weights. MODEL is a folder, a URL, a Hub repository, or a bare
 * config.json: then sizes are those of the weights that it claims.
 */
import { existsSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { parseArgs } from "node:util";
import { MixtabError } from "../src/base/errors.ts";
import { describeEncoding } from "../src/base/matrix.ts";
import { arrival, recipeOf } from "../src/engine/arrival.ts";
import { Connections } from "../src/engine/connections.ts";
import { denseModule } from "../src/engine/dense.ts";
import { ExpertLibrary } from "../src/engine/library.ts";
import { slotsFor } from "../src/engine/load.ts";
import { ProgressMeter } from "../src/engine/progress.ts";
import { openRepository } from "../src/engine/repository.ts";
import type { Checkpoint } from "../src/format/checkpoint.ts";
import type { Recipe } from "../src/format/recipe.ts";
import { buildOnPaper } from "../src/layers/blueprint.ts";
import { readModel } from "../src/models/index.ts";
import { directorySource } from "../src/source/directory.ts";
import { httpSource } from "../src/source/http.ts";
import type { Source } from "../src/source/source.ts";
import { claimedCheckpoint } from "./claimed_checkpoint.ts";
import { openArgument } from "./model_argument.ts";
import { formatBytes, parseBytes, parseQuantize, runCommand } from "./shell.ts";

/** Measured on small models, see bench/RESULTS.md; a repository is run as it was published. */
const COST_OF_4_BITS = {
  embedding: "8 bits would keep more of what the model knows",
  head: "8 bits would keep more of what the model knows (4 cost SmolLM2 7 % of its perplexity)",
} as const;

const say = (name: string, value: string | number) => console.log(`${name.padEnd(20)} ${value}`);

await runCommand(async (args) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { budget: { type: "string", default: "2GB" }, quantize: { type: "string", default: "auto" } },
  });
  const [argument] = positionals;
  if (argument === undefined || positionals.length !== 1)
    throw new MixtabError(
      "bad-request",
      "npm run inspect -- MODEL_OR_CONFIG_JSON [--budget 2GB] [--quantize auto|mlx|false]",
    );
  const { config, checkpoint, source } = await open(argument);
  describe(argument, config, checkpoint, source, {
    recipe: recipeOf(parseQuantize(values.quantize)),
    budgetBytes: parseBytes(values.budget),
  });
  return 0;
});

interface Opened {
  readonly config: unknown;
  readonly checkpoint: Checkpoint;
  readonly source: Source;
}

async function open(argument: string): Promise<Opened> {
  const bare = bareConfig(argument);
  if (!bare) {
    const { source } = openArgument(argument);
    return { ...(await openRepository(source, null, "")), source };
  }
  const text = await bare.source.text(bare.file);
  if (text === undefined) throw new MixtabError("not-found", `There is no ${argument}.`);
  const config = parse(argument, text);
  return { config, checkpoint: claimedCheckpoint(config), source: bare.source };
}

/** A config.json by itself: a file, or a URL that ends so. */
function bareConfig(argument: string): { readonly source: Source; readonly file: string } | undefined {
  if (existsSync(argument))
    return statSync(argument).isFile()
      ? { source: directorySource(dirname(argument)), file: basename(argument) }
      : undefined;
  if (!/^https?:.*\.json$/.test(argument)) return undefined;
  return { source: httpSource(new URL(".", argument).href), file: basename(new URL(argument).pathname) };
}

function parse(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MixtabError("bad-json", `${name} is not JSON. Name a model's config.json, or its folder.`, cause);
  }
}

interface Wish {
  readonly recipe: Recipe;
  readonly budgetBytes: number;
}

/** Prints what there is. Errors: unsupported-model, bad-config, budget-too-small: why it cannot run. */
function describe(
  name: string,
  config: unknown,
  checkpoint: Checkpoint,
  source: Source,
  { recipe, budgetBytes }: Wish,
): void {
  const model = readModel(config);
  const blueprint = buildOnPaper(model.build, checkpoint.has);
  const { weights, caches, experts: layers } = blueprint;
  const onArrival = arrival(recipe, blueprint);
  const modules = weights.map((spec) => denseModule(spec, checkpoint, onArrival));
  const denseBytes = modules.reduce((sum, { matrix }) => sum + matrix.end, 0);
  say("model", name);
  say("architecture", model.modelType);
  say("layers", model.layers);
  say("width", model.width);
  say("vocabulary", model.vocabulary);
  say("positions", model.positions);
  say("window", list(caches.map(({ window }) => window ?? "none")));
  say("dense", `${formatBytes(denseBytes)} in ${modules.length} matrices`);
  for (const { role, source, matrix } of modules) {
    const { encoding } = source;
    if ((role === "embedding" || role === "head") && encoding.kind === "affine" && encoding.bits < 8)
      say(role, `published as ${describeEncoding(matrix.encoding)}: ${COST_OF_4_BITS[role]}`);
  }
  if (layers.length === 0) {
    say("read per token", formatBytes(denseBytes));
    return;
  }

  const places = {
    source,
    store: null,
    prefix: "",
    connections: new Connections(),
    meter: new ProgressMeter(undefined),
  };
  const library = new ExpertLibrary(layers, checkpoint, onArrival, places);
  const { recordBytes, totalBytes, count, top } = library;
  const perToken = layers.reduce((sum, layer, index) => sum + layer.top * library.layout(index).bytes, 0);
  const types = layers.map((_, index) => describeEncoding(library.layout(index).w1.encoding));
  const shapes = layers.map((layer) => `${layer.experts} per layer, ${layer.top} per token`);
  say("experts", `${list(shapes)}, ${list(types)}, in ${layers.length} layers`);
  say("records", `${count} of at most ${formatBytes(recordBytes)}`);
  say("experts in all", formatBytes(totalBytes));
  say("read per token", `${formatBytes(perToken)} of experts, ${formatBytes(denseBytes)} beside them`);
  say("smallest budget", `${formatBytes(top * recordBytes)} (${top} slots)`);
  const slots = slotsFor(library, { budgetBytes });
  say("budget", `${formatBytes(budgetBytes)}: ${slots} slots, ${((100 * slots) / count).toFixed(0)} % of the experts`);
}

/** Each of them once. */
function list(values: readonly (string | number)[]): string {
  return [...new Set(values)].join(" or ");
}
