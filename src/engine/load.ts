import { wordsOf } from "../base/bits.ts";
import { hasCode, MixtabError } from "../base/errors.ts";
import { layMatrix } from "../base/matrix.ts";
import type { Mode } from "../experts/modes.ts";
import { Pool } from "../experts/pool.ts";
import { MOST_LAYERS_AHEAD } from "../experts/prefetch.ts";
import { type Blueprint, buildLoaded, buildOnPaper, type RopeSpec } from "../layers/blueprint.ts";
import { ropeTable } from "../layers/rope_table.ts";
import type { Model } from "../models/architecture.ts";
import { readModel } from "../models/index.ts";
import { MOST_SET_WORDS, type MoeLayer, type Slots, type Speaker, type Weight } from "../ops/ops.ts";
import type { Source } from "../source/source.ts";
import { Waits } from "../source/waits.ts";
import type { Store } from "../store/store.ts";
import type { Progress, Quantize } from "./api.ts";
import { arrival, recipeOf } from "./arrival.ts";
import { Connections } from "./connections.ts";
import { type DenseModule, denseModule, loadDense } from "./dense.ts";
import { ExpertLibrary } from "./library.ts";
import { forgiving } from "./open_store.ts";
import { throughOutages } from "./outages.ts";
import { ProgressMeter } from "./progress.ts";
import { openRepository, type Repository } from "./repository.ts";
import type { Runnable } from "./session.ts";
import { passOver } from "./unclaimed.ts";

/** Where neither the model nor the user says how long a conversation may be. */
const DEFAULT_CONTEXT_LENGTH = 4096;
/** Where the user names no budget. */
const DEFAULT_BUDGET_BYTES = 2 * 1024 ** 3;
/** Room in the ring beyond the window: for a chunk, and for going back. */
const RING_SPARE = 512;

export interface LoadOptions {
  /**
   * Slots for experts: a number of bytes ("auto": as many as the device gives), or of slots.
   * Default: all experts, at most 2 GiB.
   */
  readonly budgetBytes?: number | "auto" | undefined;
  readonly slots?: number | undefined;
  readonly contextLength?: number | undefined;
  readonly quantize?: Quantize | undefined;
  /** Whether feed-forward layers go to 4 bits; default: by the model's size, see format/recipe.ts. */
  readonly frugal?: boolean | undefined;
  readonly prefetch?: boolean | undefined;
  readonly mode?: Mode | "auto" | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How config.json is read. Default: by the architectures there are. */
  readonly read?: typeof readModel | undefined;
  /** Ends what is read ahead of demand. */
  readonly closed?: AbortSignal | undefined;
  /** Warnings from before, to be told as progress. */
  readonly notes?: readonly string[] | undefined;
}

/** A model on a device, ready to run. */
export interface Loaded extends Runnable {
  readonly modelType: string;
  readonly layers: number;
  readonly blueprint: Blueprint;
  readonly repository: Repository;
  readonly library: ExpertLibrary | null;
  readonly denseBytes: number;
  /** The dense matrices, in the blueprint's order. */
  readonly dense: readonly Pick<DenseModule, "role" | "matrix">[];
  /**
   * Brings the rest of the experts to the store, through outages; resolves when all are there or
   * nothing more can be done, which is a warning. Where the store is full, the progress is done too,
   * and the warning says how much is kept. Errors: changed.
   */
  fill(signal: AbortSignal): Promise<void>;
}

/**
 * Opens a model, loads its dense weights, and makes an empty expert pool. Experts come by demand,
 * and by `fill`.
 */
export async function loadModel(
  speaker: Speaker,
  source: Source,
  givenStore: Store | null,
  options: LoadOptions = {},
): Promise<Loaded> {
  const { quantize, signal, read = readModel } = options;
  const recipe = recipeOf(quantize);
  const meter = new ProgressMeter(options.onProgress);
  meter.enter("opening");
  for (const note of options.notes ?? []) meter.warn(note);
  const { waits = new Waits() } = source;
  waits.onChange = (wait) => meter.waiting(wait);
  const store = givenStore && forgiving(givenStore, (text) => meter.warn(text));
  const repository = await openRepository(source, store, recipe, signal);
  for (const note of repository.notes) meter.warn(note);
  const model = read(repository.config);
  const contextLength = contextOf(model, options.contextLength);
  const { checkpoint, prefix } = repository;
  const blueprint = buildOnPaper(model.build, checkpoint.has);
  const onArrival = arrival(recipe, blueprint, options.frugal);
  const connections = new Connections();

  const modules = blueprint.weights.map((spec) => denseModule(spec, checkpoint, onArrival));
  const denseBytes = modules.reduce((sum, { matrix }) => sum + matrix.end, 0);
  const places = { source, store, prefix, connections, meter, closed: options.closed };
  const library =
    blueprint.experts.length > 0 ? new ExpertLibrary(blueprint.experts, checkpoint, onArrival, places) : null;
  passOver(checkpoint.unclaimed(), model);
  if (library && options.budgetBytes !== "auto") slotsFor(library, options as SlotBudget);
  meter.totalBytes = denseBytes + (library?.totalBytes ?? 0);

  meter.enter("dense", repository.complete ? "store" : "network");
  let unkeptBytes = 0;
  const weights = await loadDense(modules, {
    speaker,
    store,
    prefix,
    reading: { source, connections, purpose: { inDemand: true }, signal },
    onLoaded: (bytes, from) => meter.loaded(bytes, from),
    onUnkept(bytes, error) {
      unkeptBytes += bytes;
      meter.warn(error.message);
    },
  });
  await library?.open();

  const ringOf = (window: number | null) => Math.min((window ?? contextLength) + RING_SPARE, contextLength);
  const caches = blueprint.caches.map(({ width, window }) => speaker.cache(ringOf(window), width, window));
  const histories = blueprint.histories.map(({ width, window }) => speaker.history(ringOf(window), width, window));
  const slots = library && (await makeSlots(speaker, library, options));
  const say = buildLoaded(model.build, checkpoint.has, blueprint, {
    weights,
    caches,
    ropes: blueprint.ropes.map((rope) => ropeWeight(speaker, rope, contextLength)),
    histories,
    experts: slots && library ? moeLayers(library, slots) : [],
  });
  const ahead = library && options.prefetch ? guessesThatFit(library.layers) : 0;
  const pool =
    slots &&
    library &&
    new Pool(slots, library.layers, (...expert) => library.read(...expert), {
      readsAtOnce: library.readsAtOnce,
      prefetch: ahead > 0,
      mode: options.mode ?? "auto",
      ...(options.closed ? { signal: options.closed } : {}),
    });
  meter.enter("experts");

  return {
    modelType: model.modelType,
    layers: model.layers,
    width: model.width,
    blueprint,
    repository,
    say,
    rings: [...caches, ...histories],
    pool,
    library,
    contextLength,
    ahead,
    denseBytes,
    dense: modules,
    fill: fillOf({
      store,
      repository,
      library,
      meter,
      waits,
      denseBytes: denseBytes - unkeptBytes,
      isKept: unkeptBytes === 0,
    }),
  };
}

interface Filling {
  readonly store: Store | null;
  readonly repository: Repository;
  readonly library: ExpertLibrary | null;
  readonly meter: ProgressMeter;
  readonly waits: Waits;
  /** Of the dense weights that the store has kept, and whether those are all. */
  readonly denseBytes: number;
  readonly isKept: boolean;
}

/** See {@link Loaded.fill}. */
const fillOf =
  ({ store, repository, library, meter, waits, denseBytes, isKept }: Filling): Loaded["fill"] =>
  async (signal) => {
    const fill = async () => library === null || (await library.fill(signal));
    const work = async () => (await throughOutages(fill, () => library?.keptBytes ?? 0, waits, signal)) && isKept;
    try {
      if (store && !repository.complete) {
        const all = await alone(`mixtab ${repository.prefix}`, signal, work);
        const ended = all ? await refusal(repository.finish()) : "";
        if (ended !== null) {
          const keptBytes = denseBytes + (library?.keptBytes ?? 0);
          const kept = `${keptBytes} of ${meter.totalBytes} bytes of the model are kept for the next visit.`;
          return meter.endEarly(`${ended} ${kept}`.trim());
        }
      } else if (repository.revised) await refusal(repository.finish()); // else the next visit asks again
      meter.enter("done");
    } catch (error) {
      if (signal.aborted) return;
      if (hasCode(error, "changed")) throw error;
      meter.warn(`The background download stopped: ${(error as Error).message}`);
    }
  };

/** Why a store did not keep something; null if it did. */
async function refusal(put: Promise<void>): Promise<string | null> {
  try {
    await put;
    return null;
  } catch (error) {
    if (!(error instanceof MixtabError)) throw error;
    return error.message;
  }
}

/** The experts of each layer, as `Ops.experts` takes them. */
const moeLayers = (library: ExpertLibrary, slots: Slots): MoeLayer[] =>
  library.layers.map(({ experts, top, activation }, index) => ({
    index,
    experts,
    top,
    activation,
    expert: library.layout(index),
    slots,
  }));

/**
 * Runs `work` while no other tab does it for the same model. Where locks are refused (a sandboxed
 * frame), so is a store that tabs could share, and it runs without.
 */
async function alone<T>(name: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  if (typeof navigator === "undefined" || !navigator.locks) return await work();
  let began = false;
  const locked = () => {
    began = true;
    return work();
  };
  try {
    return await navigator.locks.request(name, { signal }, locked);
  } catch (error) {
    if (began || signal.aborted) throw error;
    return await work();
  }
}

function contextOf({ positions, limit }: Model, wanted: number | undefined): number {
  if (wanted === undefined) return Math.min(positions, DEFAULT_CONTEXT_LENGTH);
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= positions) return wanted;
  const why = limit === undefined ? "" : ` (${limit})`;
  throw new MixtabError(
    "bad-request",
    `contextLength should be a whole number from 1 to ${positions}${why}, and is ${wanted}.`,
  );
}

type SlotBudget = Pick<LoadOptions, "slots"> & { readonly budgetBytes?: number | undefined };

/**
 * Slots a budget buys, at most one for each expert. Errors: budget-too-small, which names the
 * smallest that works.
 */
export function slotsFor({ recordBytes, top, count }: ExpertLibrary, budget: SlotBudget): number {
  const { budgetBytes = DEFAULT_BUDGET_BYTES, slots = Math.floor(budgetBytes / recordBytes) } = budget;
  if (!(slots >= top)) {
    const given = budget.slots === undefined ? `A budget of ${budgetBytes} bytes` : "That";
    throw new MixtabError(
      "budget-too-small",
      `${given} is room for ${Math.max(0, slots) || 0} experts of ${recordBytes} bytes, and a token needs ${top} at a time. ` +
        `The smallest budget that works is ${top * recordBytes} bytes.`,
    );
  }
  return Math.min(slots, count);
}

/**
 * An empty pool of what a budget buys, found to be there. Errors: budget-too-small, out-of-memory.
 */
async function makeSlots(speaker: Speaker, library: ExpertLibrary, options: LoadOptions): Promise<Slots> {
  const { slots: count, budgetBytes } = options;
  const perLayer = library.layers.map(({ experts }) => experts);
  const slots = speaker.slots(library.top, library.recordBytes, perLayer);
  const resize = (to: number) => slots.resize(to);
  if (budgetBytes === "auto" && count === undefined) await takeAll(slots, resize);
  else await resize(Math.min(slots.most, slotsFor(library, options as SlotBudget)));
  return slots;
}

/**
 * Gives the pool as many slots as a budget buys, and no more than the device can bind; "auto": as
 * many as it gives. Errors: budget-too-small, out-of-memory; then all is as before.
 */
export async function resizePool(library: ExpertLibrary, pool: Pool, budgetBytes: number | "auto"): Promise<void> {
  const resize = (count: number) => pool.resize(count);
  if (budgetBytes === "auto") await takeAll(pool.slots, resize);
  else await resize(Math.min(pool.slots.most, slotsFor(library, { budgetBytes })));
}

/**
 * Asks for more and more slots until the device refuses, then halves the distance; a tenth is left
 * to others.
 */
async function takeAll(slots: Slots, resize: (count: number) => Promise<void>): Promise<void> {
  const least = slots.count;
  let refused = slots.most + 1;
  let next = Math.min(slots.most, Math.max(least, Math.floor(DEFAULT_BUDGET_BYTES / slots.bytes)));
  while (next !== slots.count) {
    try {
      await resize(next);
    } catch (error) {
      if (!hasCode(error, "out-of-memory")) throw error;
      refused = next;
    }
    const { count } = slots;
    if (refused > slots.most) next = Math.min(slots.most, 2 * count);
    else next = refused - count > refused / 8 ? count + Math.floor((refused - count) / 2) : count;
  }
  if (refused <= slots.most) await resize(Math.max(least, Math.floor(slots.count * 0.9)));
}

/** How many layers ahead guesses fit the report. */
function guessesThatFit(layers: readonly Pick<MoeLayer, "experts">[]): number {
  const words = layers.reduce((sum, { experts }) => sum + wordsOf(experts), 0);
  return Math.max(0, Math.min(MOST_LAYERS_AHEAD, Math.floor(MOST_SET_WORDS / words) - 1));
}

function ropeWeight(speaker: Speaker, { frequencies, scale }: RopeSpec, positions: number): Weight {
  const table = ropeTable(frequencies, positions, scale);
  const matrix = layMatrix(positions, frequencies.length * 2, { kind: "plain", dtype: "f32" });
  const weight = speaker.weight(matrix);
  speaker.write(weight, 0, new Uint8Array(table.buffer as ArrayBuffer));
  return weight;
}
