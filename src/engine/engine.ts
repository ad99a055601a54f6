import { MixtabError } from "../base/errors.ts";
import { Counters } from "../experts/counters.ts";
import { MODES } from "../experts/modes.ts";
import { Trace } from "../experts/trace.ts";
import { cpuSpeaker } from "../ops/cpu/speaker.ts";
import { gpuSpeaker } from "../ops/gpu/speaker.ts";
import type { Speaker } from "../ops/ops.ts";
import type { Source } from "../source/source.ts";
import type { Store } from "../store/store.ts";
import type { Engine, EngineOptions, ModelInfo } from "./api.ts";
import { completions } from "./completions.ts";
import { readLanguage } from "./language.ts";
import { type Loaded, loadModel, resizePool } from "./load.ts";
import { openStore } from "./open_store.ts";
import { askingToPersist } from "./persistence.ts";
import { Session } from "./session.ts";

/** What only the host knows: a GPU where `navigator.gpu` is not it (Node), the model's files. */
export interface Host {
  readonly id: string;
  readonly source: Source;
  readonly gpu?: GPU | undefined;
  /** Where records are kept instead of what `EngineOptions.store` names. */
  readonly store?: Store | undefined;
}

/** Opens a model in this thread. `createEngine` does it in a worker. */
export async function openEngine(
  { id, source, gpu, store: given }: Host,
  options: EngineOptions = {},
): Promise<Engine> {
  const { device = "auto", mode = "auto", signal, trace = false } = options;
  if (mode !== "auto" && !MODES.includes(mode))
    throw new MixtabError("bad-request", `There is no mode ${mode}. There are auto, ${MODES.join(", ")}.`);
  const speaker = await openSpeaker(device, gpu);
  const closed = new AbortController();
  let store: Store | null = null;
  const notes: string[] = [];
  let { onProgress } = options;
  try {
    if (given) store = given;
    else if (source.remote) {
      store = await openStore(options.store, (text) => notes.push(text));
      if (options.store !== "memory" && notes.length === 0) onProgress = askingToPersist(onProgress);
    }
    const loaded = await loadModel(speaker, source, store, { ...options, onProgress, closed: closed.signal, notes });
    const language = readLanguage(loaded.repository);
    return assemble({ id, speaker, store, loaded, language, trace, closed, signal });
  } catch (error) {
    speaker.close();
    store?.close();
    throw error;
  }
}

interface Assembly {
  readonly id: string;
  readonly speaker: Speaker;
  readonly store: Store | null;
  readonly loaded: Loaded;
  readonly language: ReturnType<typeof readLanguage>;
  readonly trace: boolean;
  readonly closed: AbortController;
  readonly signal: AbortSignal | undefined;
}

function assemble({ id, speaker, store, loaded, language, trace: wanted, closed, signal }: Assembly): Engine {
  const { pool, library, contextLength } = loaded;
  const trace = wanted ? traceOf(id, loaded) : null;
  const session = new Session(speaker, loaded, { taps: trace ? "routes" : "none", trace });
  session.prepare();
  const filled = loaded.fill(signal ? AbortSignal.any([signal, closed.signal]) : closed.signal);
  speaker.lost.then((reason) =>
    closed.abort(new MixtabError("device-lost", `The GPU was lost (${reason}). Open the model again.`)),
  );

  const engine: Engine = {
    get info(): ModelInfo {
      return {
        id,
        architecture: loaded.modelType,
        device: speaker.device,
        deviceDescription: speaker.description,
        layers: loaded.layers,
        experts: pool?.slots.experts ?? 0,
        top: pool?.top ?? 0,
        recordBytes: library?.recordBytes ?? 0,
        slots: pool?.slots.count ?? 0,
        contextLength,
        denseBytes: loaded.denseBytes,
        expertBytes: library?.totalBytes ?? 0,
        memory: speaker.memory(),
      };
    },
    chat: { completions: completions({ model: id, language, session, pool, contextLength, closed: closed.signal }) },
    async stats() {
      const none = new Counters();
      return {
        prefill: { ...(pool?.prefill ?? none) },
        decode: { ...(pool?.decode ?? none) },
        slots: pool?.slots.count ?? 0,
        residentExperts: pool?.residentExperts ?? 0,
        mode: pool?.mode ?? "queued",
        recall: pool?.recall ?? [],
      };
    },
    async setBudget(budgetBytes) {
      closed.signal.throwIfAborted();
      if (budgetBytes !== "auto" && !(Number.isFinite(budgetBytes) && budgetBytes >= 0))
        throw new MixtabError("bad-request", `A budget is a number of bytes or "auto", and not ${budgetBytes}.`);
      if (pool && library) await session.between(() => resizePool(library, pool, budgetBytes));
      return engine.info;
    },
    async trace() {
      if (trace) return trace.csv();
      throw new MixtabError(
        "bad-request",
        "Nothing was traced. Open the engine with trace: true (and a model with experts).",
      );
    },
    async close() {
      closed.abort(new MixtabError("closed", "The engine was closed. Create a new one."));
      await filled;
      await pool?.quiet();
      speaker.close();
      store?.close();
    },
  };
  return engine;
}

function traceOf(model: string, { modelType: arch, library }: Loaded): Trace | null {
  return library && new Trace({ model, arch, layers: library.layers, recordBytes: library.recordBytes });
}

async function openSpeaker(device: "auto" | "gpu" | "cpu", gpu: GPU | undefined): Promise<Speaker> {
  if (device === "cpu") return cpuSpeaker();
  try {
    return await gpuSpeaker(gpu);
  } catch (error) {
    if (device === "gpu" || !(error instanceof MixtabError && error.code === "no-webgpu")) throw error;
    const speaker = cpuSpeaker();
    return Object.assign(speaker, {
      description: `${speaker.description}, since there is no WebGPU: fit for tiny models only`,
    });
  }
}
