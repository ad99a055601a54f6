import { hasCode, MixtabError } from "../base/errors.ts";
import { Counters } from "../experts/counters.ts";
import { MODES } from "../experts/modes.ts";
import { Trace } from "../experts/trace.ts";
import { cpuSpeaker } from "../ops/cpu/speaker.ts";
import { gpuSpeaker } from "../ops/gpu/speaker.ts";
import type { Speaker } from "../ops/ops.ts";
import type { Source } from "../source/source.ts";
import type { Store } from "../store/store.ts";
import type { Engine, EngineOptions, ModelInfo, Progress } from "./api.ts";
import { completions } from "./completions.ts";
import { keysOf } from "./keys.ts";
import { readLanguage } from "./language.ts";
import { type Loaded, loadModel, resizePool } from "./load.ts";
import { openStore } from "./open_store.ts";
import { askingToPersist } from "./persistence.ts";
import { type Opened, openThroughChange } from "./renewal.ts";
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
  const { device = "auto", mode = "auto", trace = false } = options;
  if (mode !== "auto" && !MODES.includes(mode))
    throw new MixtabError("bad-request", `There is no mode ${mode}. There are auto, ${MODES.join(", ")}.`);
  let store: Store | null = null;
  const storeNotes: string[] = [];
  let { onProgress: told } = options;
  if (given) store = given;
  else if (source.remote) {
    store = await openStore(options.store, (text) => storeNotes.push(text));
    if (options.store !== "memory" && storeNotes.length === 0) told = askingToPersist(told);
  }
  let progress: Progress | undefined;
  const onProgress = (event: Progress) => {
    progress = event;
    told?.(event);
  };

  return await openThroughChange({
    source,
    budgetBytes: options.budgetBytes,
    signal: options.signal,
    async open({ source, notes, signal, budgetBytes }) {
      const speaker = await openSpeaker(device, gpu);
      const closed = new AbortController();
      try {
        const loaded = await loadModel(speaker, source, store, {
          ...options,
          ...(budgetBytes !== undefined && { budgetBytes }),
          onProgress,
          signal,
          closed: closed.signal,
          notes: [...storeNotes.splice(0), ...notes],
        });
        const language = readLanguage(loaded.repository);
        return assemble({ id, speaker, loaded, language, trace, closed, signal });
      } catch (error) {
        closed.abort(error);
        speaker.close();
        throw error;
      }
    },
    async forget() {
      await store?.delete(keysOf(source.name)).catch(() => {}); // what stays has a key of its own
    },
    warn: (warning) => progress && onProgress({ ...progress, warning }),
    close: () => store?.close(),
  });
}

interface Assembly {
  readonly id: string;
  readonly speaker: Speaker;
  readonly loaded: Loaded;
  readonly language: ReturnType<typeof readLanguage>;
  readonly trace: boolean;
  readonly closed: AbortController;
  readonly signal: AbortSignal;
}

function assemble({ id, speaker, loaded, language, trace: wanted, closed, signal }: Assembly): Opened {
  const { pool, library, contextLength } = loaded;
  const trace = wanted ? traceOf(id, loaded) : null;
  const session = new Session(speaker, loaded, { taps: trace ? "routes" : "none", trace });
  session.prepare();
  const filled = loaded.fill(AbortSignal.any([signal, closed.signal]));
  speaker.lost.then((reason) =>
    closed.abort(new MixtabError("device-lost", `The GPU was lost (${reason}). Open the model again.`)),
  );

  const doubt =
    pool && library
      ? async () => {
          library.doubt();
          await session.between(() => pool.empty());
          session.reset();
        }
      : null;

  const engine: Opened["engine"] = {
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
    chat: {
      completions: completions({ model: id, language, session, pool, contextLength, doubt, closed: closed.signal }),
    },
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
  };
  return {
    engine,
    filled,
    async close(reason) {
      closed.abort(reason);
      await filled.catch(() => {});
      await pool?.quiet();
      await library?.quiet();
      speaker.close();
    },
  };
}

function traceOf(model: string, { modelType: arch, library }: Loaded): Trace | null {
  return library && new Trace({ model, arch, layers: library.layers, recordBytes: library.recordBytes });
}

async function openSpeaker(device: "auto" | "gpu" | "cpu", gpu: GPU | undefined): Promise<Speaker> {
  if (device === "cpu") return cpuSpeaker();
  try {
    return await gpuSpeaker(gpu);
  } catch (error) {
    if (device === "gpu" || !hasCode(error, "no-webgpu")) throw error;
    const speaker = cpuSpeaker();
    return Object.assign(speaker, {
      description: `${speaker.description}, since there is no WebGPU: fit for tiny models only`,
    });
  }
}
