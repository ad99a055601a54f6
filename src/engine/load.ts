import { MixtabError } from "../base/errors.ts";
import { layMatrix } from "../base/matrix.ts";
import { Pool } from "../experts/pool.ts";
import { ropeTable } from "../layers/rope.ts";
import type { LoadedModel, ModelSpec } from "../models/architecture.ts";
import { readModel } from "../models/index.ts";
import type { Speaker } from "../ops/ops.ts";
import type { Source } from "../source/source.ts";
import type { Store } from "../store/store.ts";
import type { Progress } from "./api.ts";
import { Connections } from "./connections.ts";
import { denseModule, loadDense } from "./dense.ts";
import { ExpertLibrary } from "./library.ts";
import { ProgressMeter } from "./progress.ts";
import { openRepository, type Repository } from "./repository.ts";

/** Where neither the model nor the user says how long a conversation may be. */
const DEFAULT_CONTEXT_LENGTH = 4096;
/** Where the user names no budget. */
const DEFAULT_BUDGET_BYTES = 2 * 1024 ** 3;
/** Room in the ring beyond the window: for a chunk, and for going back. */
const RING_SPARE = 512;

export interface LoadOptions {
  /** Slots for experts: a number of bytes, or of slots. Default: all experts, at most 2 GiB. */
  readonly budgetBytes?: number | undefined;
  readonly slots?: number | undefined;
  readonly contextLength?: number | undefined;
  readonly quantize?: boolean | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A model on a device, ready to run. */
export interface Loaded {
  readonly spec: ModelSpec;
  readonly repository: Repository;
  readonly model: LoadedModel;
  readonly pool: Pool | null;
  readonly library: ExpertLibrary | null;
  readonly contextLength: number;
  /** Positions in each layer's cache. */
  readonly ring: number;
  readonly denseBytes: number;
  /** Brings the rest of the experts to the store; resolves when all are there or nothing more can be done, which is a warning. */
  fill(signal: AbortSignal): Promise<void>;
}

/** Opens a model, loads its dense weights, and makes an empty expert pool. Experts come by demand, and by `fill`. */
export async function loadModel(
  speaker: Speaker,
  source: Source,
  store: Store | null,
  options: LoadOptions = {},
): Promise<Loaded> {
  const { quantize = true, signal } = options;
  const meter = new ProgressMeter(options.onProgress);
  meter.enter("opening");
  const repository = await openRepository(source, store, quantize ? "q4" : "as-published", signal);
  const spec = readModel(repository.config);
  const contextLength = contextOf(spec, options.contextLength);
  const { checkpoint, prefix } = repository;
  const connections = new Connections();

  const modules = Object.entries(spec.weights).map(([key, weight]) => denseModule(key, weight, checkpoint, quantize));
  const denseBytes = modules.reduce((sum, { matrix }) => sum + matrix.end, 0);
  const places = { source, store, prefix, connections, meter };
  const library = spec.experts && new ExpertLibrary(spec.experts, spec.width, checkpoint, quantize, places);
  const slotCount = library ? slotsFor(library, options) : 0;
  meter.totalBytes = denseBytes + (library?.totalBytes ?? 0);

  meter.enter("dense", repository.complete ? "store" : "network");
  const weights = await loadDense(modules, {
    speaker,
    store,
    prefix,
    reading: { source, connections, inDemand: true, signal },
    onLoaded: (bytes, from) => meter.loaded(bytes, from),
    onQuota: (error) => meter.warn(error.message),
  });
  await library?.open();

  const ring = Math.min((spec.window ?? contextLength) + RING_SPARE, contextLength);
  const slots = library && speaker.slots(slotCount, library.recordBytes, library.spec.layers, library.spec.experts);
  const model: LoadedModel = {
    weight: (key) => weights.get(key)!,
    rope: ropeWeight(speaker, spec, contextLength),
    caches: Array.from({ length: spec.layers }, () => speaker.cache(ring, spec.cacheWidth, spec.window)),
    slots,
    expertLayout: (layer) => library!.layout(layer),
  };
  const pool =
    slots && library && new Pool(slots, library.spec.top, (...expert) => library.read(...expert), library.readsAtOnce);
  meter.enter("experts");

  return {
    spec,
    repository,
    model,
    pool,
    library,
    contextLength,
    ring,
    denseBytes,
    async fill(fillSignal) {
      try {
        const work = async () => library === null || (await library.fill(fillSignal));
        if (store && !repository.complete) {
          if (!(await alone(`mixtab ${prefix}`, fillSignal, work))) return;
          await repository.finish();
        }
        meter.enter("done");
      } catch (error) {
        if (!fillSignal.aborted) meter.warn(`The background download stopped: ${(error as Error).message}`);
      }
    },
  };
}

/** Runs `work` while no other tab does it for the same model. */
async function alone<T>(name: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  if (typeof navigator === "undefined" || !navigator.locks) return await work();
  return await navigator.locks.request(name, { signal }, work);
}

function contextOf(spec: ModelSpec, wanted: number | undefined): number {
  if (wanted === undefined) return Math.min(spec.positions, DEFAULT_CONTEXT_LENGTH);
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= spec.positions) return wanted;
  throw new MixtabError(
    "bad-request",
    `contextLength should be a whole number from 1 to ${spec.positions}, and is ${wanted}.`,
  );
}

/** Slots a budget buys. Errors: budget-too-small, which names the smallest that works. */
export function slotsFor({ recordBytes, spec: { layers, experts, top } }: ExpertLibrary, options: LoadOptions): number {
  const { budgetBytes = DEFAULT_BUDGET_BYTES, slots = Math.floor(budgetBytes / recordBytes) } = options;
  if (!(slots >= top)) {
    const given = options.slots === undefined ? `A budget of ${budgetBytes} bytes` : "That";
    throw new MixtabError(
      "budget-too-small",
      `${given} is room for ${Math.max(0, slots) || 0} experts of ${recordBytes} bytes, and a token needs ${top} at a time. ` +
        `The smallest budget that works is ${top * recordBytes} bytes.`,
    );
  }
  return Math.min(slots, layers * experts);
}

function ropeWeight(speaker: Speaker, { inverseFrequencies }: ModelSpec, positions: number) {
  const table = ropeTable(inverseFrequencies, positions);
  const matrix = layMatrix(positions, inverseFrequencies.length * 2, { kind: "plain", dtype: "f32" });
  const weight = speaker.weight(matrix);
  speaker.write(weight, 0, new Uint8Array(table.buffer as ArrayBuffer));
  return weight;
}
