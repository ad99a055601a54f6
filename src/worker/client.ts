import { MixtabError } from "../base/errors.ts";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  Completions,
  Engine,
  EngineOptions,
  ModelInfo,
  ModelReference,
  RequestOptions,
  Stats,
} from "../engine/api.ts";
import { askingToPersist } from "../engine/persistence.ts";
import { type Answer, type Call, fromWire } from "./protocol.ts";

/** The callbacks of a call that has not settled. */
interface Listener {
  resolve(value: unknown): void;
  reject(error: unknown): void;
  readonly onProgress?: EngineOptions["onProgress"];
  readonly onInfo?: (info: ModelInfo) => void;
  readonly onChunk?: (chunk: ChatCompletionChunk) => void;
  readonly onStream?: () => void;
}

type Question = Call extends infer C ? (C extends { id: number } ? Omit<C, "id"> : never) : never;

/** Opens an engine in a worker. The worker ends with `close`, or when opening fails. */
export async function openInWorker(worker: Worker, model: ModelReference, options: EngineOptions): Promise<Engine> {
  const wire = new WorkerWire(worker);
  const { onProgress: told, signal, ...rest } = options;
  let info: ModelInfo | undefined;
  const tryNow = () => wire.ask({ kind: "tryNow" });
  const stopHearing = hearReturn(() => void tryNow().catch(() => {}));
  const isKept = typeof model === "string" && options.store !== "memory";
  const onProgress = isKept ? askingToPersist(told) : told;
  try {
    const onInfo = (now: ModelInfo) => {
      info = now;
    };
    info = (await wire.ask(
      { kind: "open", model, options: rest },
      { signal, onProgress, onInfo, lasting: true },
    )) as ModelInfo;
    return {
      get info() {
        return info!;
      },
      chat: { completions: { create: create(wire) as Completions["create"] } },
      stats: async () => (await wire.ask({ kind: "stats" })) as Stats,
      async setBudget(budgetBytes) {
        info = (await wire.ask({ kind: "setBudget", budgetBytes })) as ModelInfo;
        return info;
      },
      async tryNow() {
        await tryNow();
      },
      trace: async () => (await wire.ask({ kind: "trace" })) as string,
      async close() {
        stopHearing();
        if (!wire.ended) await wire.ask({ kind: "close" });
        wire.end(new MixtabError("closed", "The engine was closed. Create a new one."));
      },
    };
  } catch (error) {
    stopHearing();
    wire.end(error);
    throw error;
  }
}

/**
 * Calls `act` when the browser comes online, and when the page is shown again: a worker hears of
 * neither. Returns what ends that.
 */
function hearReturn(act: () => void): () => void {
  const { document } = globalThis;
  const shown = () => document.visibilityState === "visible" && act();
  globalThis.addEventListener?.("online", act);
  document?.addEventListener("visibilitychange", shown);
  return () => {
    globalThis.removeEventListener?.("online", act);
    document?.removeEventListener("visibilitychange", shown);
  };
}

const create =
  (wire: WorkerWire) =>
  async (
    request: ChatRequest,
    options: RequestOptions = {},
  ): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> => {
    if (!request.stream) return (await wire.ask({ kind: "create", request }, options)) as ChatCompletion;
    const queue = new Queue<ChatCompletionChunk>();
    const stop = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
    await new Promise<void>((onStream, reject) => {
      wire.ask({ kind: "create", request }, { signal, onStream, onChunk: (chunk) => queue.push(chunk) }).then(
        () => queue.end(),
        (error) => {
          queue.fail(error);
          reject(error);
        },
      );
    });
    return queue.drain(() => stop.abort());
  };

interface Asking {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: EngineOptions["onProgress"];
  readonly onInfo?: (info: ModelInfo) => void;
  readonly onChunk?: (chunk: ChatCompletionChunk) => void;
  readonly onStream?: () => void;
  /**
   * Whether signal and progress stay in use after the answer, as those of "open" do: they serve the
   * background fill.
   */
  readonly lasting?: boolean;
}

/** Calls over a worker's port, matched to their answers. */
class WorkerWire {
  ended: unknown;
  private readonly worker: Worker;
  private readonly listeners = new Map<number, Listener>();
  private nextId = 0;

  constructor(worker: Worker) {
    this.worker = worker;
    worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => this.hear(data));
    worker.addEventListener("error", (event) => this.end(new Error(`The engine's worker failed: ${event.message}`)));
  }

  async ask(question: Question, { signal, lasting = false, ...on }: Asking = {}): Promise<unknown> {
    if (this.ended) throw this.ended;
    signal?.throwIfAborted();
    const id = this.nextId++;
    let settled = false;
    let abort = () => {};
    try {
      return await new Promise<unknown>((resolve, reject) => {
        this.listeners.set(id, { resolve, reject, ...on } as Listener);
        abort = () => {
          this.worker.postMessage({ id, kind: "abort" } satisfies Call);
          reject(signal!.reason);
        };
        signal?.addEventListener("abort", abort);
        this.worker.postMessage({ id, ...question } as Call);
      });
    } catch (error) {
      settled = true;
      throw error;
    } finally {
      if (!lasting || settled) {
        signal?.removeEventListener("abort", abort);
        this.listeners.delete(id);
      }
    }
  }

  /** Stops the worker; calls that still wait reject with `reason`. */
  end(reason: unknown): void {
    if (this.ended) return;
    this.ended = reason;
    this.worker.terminate();
    for (const { reject } of this.listeners.values()) reject(reason);
  }

  private hear(answer: Answer): void {
    const listener = this.listeners.get(answer.id);
    if (!listener) return;
    if (answer.kind === "result") listener.resolve(answer.value);
    else if (answer.kind === "error") listener.reject(fromWire(answer.error));
    else if (answer.kind === "progress") {
      if (answer.info) listener.onInfo?.(answer.info);
      listener.onProgress?.(answer.progress);
    } else if (answer.kind === "chunk") listener.onChunk?.(answer.chunk);
    else listener.onStream?.();
  }
}

/** Keeps items that arrive until the reader asks for them. */
class Queue<T> {
  private readonly items: T[] = [];
  private state: "open" | "ended" | { readonly error: unknown } = "open";
  private wake = () => {};

  push(item: T): void {
    this.items.push(item);
    this.wake();
  }

  end(): void {
    this.state = "ended";
    this.wake();
  }

  fail(error: unknown): void {
    this.state = { error };
    this.wake();
  }

  /** The items, as they arrive. `abandoned` is called when the reader leaves before the end. */
  async *drain(abandoned: () => void): AsyncGenerator<T, void> {
    try {
      while (true) {
        while (this.items.length > 0) yield this.items.shift()!;
        if (typeof this.state === "object") throw this.state.error;
        if (this.state === "ended") return;
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    } finally {
      if (this.state === "open") abandoned();
    }
  }
}
