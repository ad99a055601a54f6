/**
 * Works out what `inspect` prints about a model: its parts, their bytes, and what a budget buys.
 * This file uses nothing of Node, so that it also runs in a browser.
 */
import { describeEncoding } from "../src/base/matrix.ts";
import { arrival } from "../src/engine/arrival.ts";
import { Connections } from "../src/engine/connections.ts";
import { denseModule } from "../src/engine/dense.ts";
import { ExpertLibrary } from "../src/engine/library.ts";
import { slotsFor } from "../src/engine/load.ts";
import { ProgressMeter } from "../src/engine/progress.ts";
import { passOver } from "../src/engine/unclaimed.ts";
import type { Checkpoint } from "../src/format/checkpoint.ts";
import type { Recipe } from "../src/format/recipe.ts";
import { buildOnPaper } from "../src/layers/blueprint.ts";
import type { Model } from "../src/models/architecture.ts";
import { readModel } from "../src/models/index.ts";
import type { Source } from "../src/source/source.ts";
import { formatBytes } from "./shell.ts";

/**
 * What an embedding or a head published at 4 bits costs; measured on small models, see
 * bench/RESULTS.md. mixtab runs such a matrix as it was published.
 */
const COST_OF_4_BITS = {
  embedding: "8 bits would keep more of what the model knows",
  head: "8 bits would keep more of what the model knows (4 cost SmolLM2 7 % of its perplexity)",
} as const;

/** A model before it is loaded. */
export interface Described {
  readonly config: unknown;
  readonly checkpoint: Checkpoint;
  readonly source: Source;
}

export interface Wish {
  readonly recipe: Recipe;
  readonly budgetBytes: number;
}

/** One line: a name, and what there is to say under it. */
export type Fact = readonly [name: string, value: string | number];

/**
 * Describes a model line by line. `source`: where the checkpoint's bytes would come from. Errors,
 * if the model cannot run: unsupported-model, bad-config, unsupported-quantization,
 * budget-too-small.
 */
export function* describe(
  { config, checkpoint, source }: Described,
  { recipe, budgetBytes }: Wish,
): Generator<Fact, void> {
  const model = readModel(config);
  const blueprint = buildOnPaper(model.build, checkpoint.has);
  const { weights, caches, experts: layers } = blueprint;
  const onArrival = arrival(recipe, blueprint);
  const modules = weights.map((spec) => denseModule(spec, checkpoint, onArrival));
  const denseBytes = modules.reduce((sum, { matrix }) => sum + matrix.end, 0);
  yield ["architecture", model.modelType];
  yield ["layers", model.layers];
  yield ["width", model.width];
  yield ["vocabulary", model.vocabulary];
  yield ["positions", model.limit === undefined ? model.positions : `${model.positions}: ${model.limit}`];
  yield ["window", list(caches.map(({ window }) => window ?? "none"))];
  yield ["dense", `${formatBytes(denseBytes)} in ${modules.length} matrices`];
  for (const { role, source, matrix } of modules) {
    const { encoding } = source;
    if ((role === "embedding" || role === "head") && encoding.kind === "affine" && encoding.bits < 8)
      yield [role, `published as ${describeEncoding(matrix.encoding)}: ${COST_OF_4_BITS[role]}`];
  }
  if (layers.length === 0) {
    yield* passedOver(checkpoint, model);
    yield ["read per token", formatBytes(denseBytes)];
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
  yield* passedOver(checkpoint, model);
  const { recordBytes, totalBytes, count, top } = library;
  const perToken = layers.reduce((sum, layer, index) => sum + layer.top * library.layout(index).bytes, 0);
  const types = layers.map((_, index) => describeEncoding(library.layout(index).w1.encoding));
  const shapes = layers.map((layer) => `${layer.experts} per layer, ${layer.top} per token`);
  yield ["experts", `${list(shapes)}, ${list(types)}, in ${layers.length} layers`];
  yield ["records", `${count} of at most ${formatBytes(recordBytes)}`];
  yield ["experts in all", formatBytes(totalBytes)];
  yield ["read per token", `${formatBytes(perToken)} of experts, ${formatBytes(denseBytes)} beside them`];
  yield ["smallest budget", `${formatBytes(top * recordBytes)} (${top} slots)`];
  const slots = slotsFor(library, { budgetBytes });
  yield [
    "budget",
    `${formatBytes(budgetBytes)}: ${slots} slots, ${((100 * slots) / count).toFixed(0)} % of the experts`,
  ];
}

/** What the files hold that the model does not use. Errors: unsupported-model. */
function* passedOver(checkpoint: Checkpoint, model: Pick<Model, "layers">): Generator<Fact, void> {
  for (const [kind, tensors] of passOver(checkpoint.unclaimed(), model)) {
    const bytes = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
    yield [
      "passed over",
      `${kind}: ${tensors.length} tensors of ${formatBytes(bytes)}, ${tensors[0]!.name} for example`,
    ];
  }
}

/** The distinct values: "32 or 64". */
function list(values: readonly (string | number)[]): string {
  return [...new Set(values)].join(" or ");
}
