/** The public types: OpenAI's chat completion shapes, and what mixtab adds to them. */
import type { Mode } from "../experts/modes.ts";

export type { Mode };

/**
 * Where a model is: the URL of a folder (absolute, or relative to the page), a Hub repository
 * `owner/name[@revision]`, or the model's files by name.
 */
export type ModelReference = string | Readonly<Record<string, Blob | Uint8Array<ArrayBuffer>>>;

/** Where records are kept: in the browser's database, in its private file system, in memory. */
export type StoreKind = "indexeddb" | "opfs" | "memory";

/** See {@link EngineOptions.quantize}. */
export type Quantize = "auto" | "mlx" | boolean;

export interface EngineOptions {
  /**
   * How many bytes resident experts may take on the device; "auto": as many as the device really
   * gives. Default: as many as all experts take, at most 2 GiB. The budget changes how fast an
   * answer comes, not the answer. See also `engine.setBudget`.
   */
  readonly budgetBytes?: number | "auto";
  /** How many tokens a conversation may have. Default: min(max_position_embeddings, 4096). */
  readonly contextLength?: number;
  /**
   * How weights that are published as f32, f16 or bf16 are stored and computed with. "auto" (the
   * default; `true` is the same): routed experts at 4 bits, all other matrices that are multiplied
   * at 8, routers as published. "mlx": all at 4 bits, in the same bytes as mlx_lm.convert writes.
   * false: as published.
   */
  readonly quantize?: Quantize;
  /**
   * Default "auto": WebGPU if there is an adapter, else the CPU, which is fast enough only for tiny
   * models.
   */
  readonly device?: "auto" | "gpu" | "cpu";
  /**
   * Where weights are kept between visits. "opfs": as files in the origin private file system, see
   * bench/RESULTS.md. Default: "indexeddb" if there is one. A store that cannot be used is replaced
   * by memory, with a warning.
   */
  readonly store?: StoreKind;
  /**
   * Whether to record which experts serve which token; `engine.trace()` returns the record. Default
   * false.
   */
  readonly trace?: boolean;
  /**
   * Whether to read experts that later layers will probably want before their turn. This never
   * changes the answer. Default false: bench/RESULTS.md says why.
   */
  readonly prefetch?: boolean;
  /**
   * For tests and measurements: the mode in which tokens are run (see `Stats.mode`). Default
   * "auto": the engine chooses a mode for each token.
   */
  readonly mode?: Mode | "auto";
  /**
   * Is called while the model loads, also after `createEngine` has resolved, until every expert is
   * in the store.
   */
  readonly onProgress?: (progress: Progress) => void;
  /** Aborts the loading, including the fill (which stores the experts in the background). */
  readonly signal?: AbortSignal;
}

/** Which of the browser's stores is meant. */
export interface StoreOptions {
  /** Default: all there are. */
  readonly store?: StoreKind;
}

/** A model as the browser keeps it. */
export interface StoredModel {
  /** Its URL, without what only opens the door (tokens, signatures); `deleteModel` takes it. */
  readonly name: string;
  /** Changes when the model's files do. */
  readonly revision: string;
  /** What became of weights that were published as floats: auto-1, mlx-1, none. */
  readonly recipe: string;
  /** Of its records. */
  readonly bytes: number;
  /** Whether all of it was stored, so that it opens without a network. */
  readonly complete: boolean;
  readonly store: Exclude<StoreKind, "memory">;
}

export interface Progress {
  /**
   * opening: config and headers are read. dense: dense weights are loaded, and the engine is not
   * ready yet. experts: the engine answers already, while experts are being stored. done: all is
   * stored.
   */
  readonly phase: "opening" | "dense" | "experts" | "done";
  /**
   * Bytes of the whole model (dense weights and experts) that are loaded. What the store already
   * had counts as loaded.
   */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** The speed of the last 3 seconds. */
  readonly bytesPerSecond: number;
  readonly from: "network" | "store";
  /**
   * Whether the browser has promised to keep what is stored (`navigator.storage.persist`), which it
   * is asked for a model of 100 MB or more that is about to be stored; absent until it has answered.
   * The last event comes again with the answer.
   */
  readonly persisted?: boolean;
  /**
   * Is set while requests that failed wait before they are made again: the network is gone, or the
   * server is busy. The loading goes on by itself after `nextTryMs` (milliseconds from this event
   * on), when the browser comes online, when the page is shown again, and on `engine.tryNow()`.
   * `reason`: what went wrong, in words.
   */
  readonly waiting?: { readonly reason: string; readonly nextTryMs: number };
  /**
   * Is set when something went wrong but the work goes on. Examples: the quota is full; a record
   * was damaged and was fetched again; the store cannot be used; the model changed on the server
   * and is loaded anew (phase is "opening" again then).
   */
  readonly warning?: string;
}

export interface ModelInfo {
  readonly id: string;
  /** The model_type of config.json. */
  readonly architecture: string;
  readonly device: "cpu" | "gpu";
  /** The adapter's name. On the CPU also the reason why it is used. */
  readonly deviceDescription: string;
  readonly layers: number;
  /**
   * The number of experts per layer. It is 0 in a dense model, as are `top`, `recordBytes` and
   * `slots`.
   */
  readonly experts: number;
  readonly top: number;
  readonly recordBytes: number;
  readonly slots: number;
  readonly contextLength: number;
  readonly denseBytes: number;
  readonly expertBytes: number;
  /** Bytes on the device: dense weights, key/value caches, expert slots, activations. */
  readonly memory: {
    readonly weights: number;
    readonly caches: number;
    readonly slots: number;
    readonly arena: number;
  };
}

/** What the expert pool did, in counters that only grow. */
export interface PoolCounters {
  readonly tokens: number;
  /**
   * Experts wanted that were resident (hits), and that were not (misses). An expert counts once per
   * layer and step, for however many tokens.
   */
  readonly hits: number;
  readonly misses: number;
  readonly uploads: number;
  readonly uploadedBytes: number;
  readonly bytesFromStore: number;
  readonly bytesFromNetwork: number;
  /** Submissions to the device. A token takes one if no expert is missing. */
  readonly passes: number;
  /** How often a layer stalled because an expert was missing. */
  readonly stalls: number;
  /** The time in which nothing could run because an expert was missing. */
  readonly stalledMs: number;
  /**
   * `prefetches`: experts read on a guess. Of their bytes, `usefulPrefetchBytes` were wanted later,
   * `wastedPrefetchBytes` were evicted unused, and `latePrefetchBytes` were wanted before the read
   * had ended.
   */
  readonly prefetches: number;
  readonly usefulPrefetchBytes: number;
  readonly wastedPrefetchBytes: number;
  readonly latePrefetchBytes: number;
}

export interface Stats {
  readonly prefill: PoolCounters;
  readonly decode: PoolCounters;
  readonly slots: number;
  readonly residentExperts: number;
  /**
   * How the next token is run. queued: all experts are resident, so that tokens are submitted
   * ahead. optimistic: one submission holds all layers, and stalls where an expert is missing.
   * grouped: many experts are missing, so that a submission holds only a few layers.
   */
  readonly mode: Mode;
  /**
   * By MoE layer, the share of the experts it wanted that were guessed one layer before. Empty
   * without prefetch.
   */
  readonly recall: readonly number[];
}

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
  /** Of an assistant's message: what it thought before it answered. The template decides what counts. */
  readonly reasoning_content?: string | null;
}

/**
 * A request in OpenAI's format. An option that is not listed here is refused with
 * `unsupported-option`, never ignored.
 */
export interface ChatRequest {
  readonly messages: readonly ChatMessage[];
  /** Accepted but not used, since an engine has one model. */
  readonly model?: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly max_tokens?: number | null;
  readonly max_completion_tokens?: number | null;
  /**
   * The defaults of temperature, top_p and top_k are those of the model's generation_config.json,
   * else 1, 1 and 0. Temperature 0 is greedy. top_k 0 sets no limit.
   */
  readonly temperature?: number | null;
  readonly top_p?: number | null;
  readonly top_k?: number | null;
  readonly seed?: number | null;
  /** Texts that end the answer; what is said while reasoning does not count. */
  readonly stop?: string | readonly string[] | null;
  readonly n?: 1 | null;
  /** For models that reason: "low", "medium", "high", or what else the model's template knows. */
  readonly reasoning_effort?: string | null;
  /** For models that can answer with and without reasoning, as Qwen3 can. */
  readonly enable_thinking?: boolean | null;
  /** Further variables of the model's chat template, by name, as in vLLM. */
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>> | null;
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details: { readonly reasoning_tokens: number };
  /** The pool's counters for this request alone. */
  readonly mixtab: { readonly prefill: PoolCounters; readonly decode: PoolCounters };
}

export type FinishReason = "stop" | "length";

export interface ChatCompletion {
  readonly id: string;
  readonly object: "chat.completion";
  readonly created: number;
  readonly model: string;
  readonly choices: readonly {
    readonly index: 0;
    readonly message: {
      readonly role: "assistant";
      readonly content: string;
      readonly refusal: null;
      /** What a model that reasons thought before it answered (as in DeepSeek's API); absent otherwise. */
      readonly reasoning_content?: string;
    };
    readonly logprobs: null;
    readonly finish_reason: FinishReason;
  }[];
  readonly usage: Usage;
}

export interface ChatCompletionChunk {
  readonly id: string;
  readonly object: "chat.completion.chunk";
  readonly created: number;
  readonly model: string;
  /**
   * Empty in the last chunk, the one that carries `usage`. There is such a chunk only with
   * stream_options.include_usage.
   */
  readonly choices: readonly {
    readonly index: 0;
    readonly delta: { readonly role?: "assistant"; readonly content?: string; readonly reasoning_content?: string };
    readonly logprobs: null;
    readonly finish_reason: FinishReason | null;
  }[];
  readonly usage?: Usage | null;
}

export interface RequestOptions {
  /**
   * Stops the answer: `create` rejects (or the stream throws) with the signal's reason. What the
   * conversation has in the cache stays usable.
   */
  readonly signal?: AbortSignal;
}

export interface Completions {
  create(
    request: ChatRequest & { readonly stream: true },
    options?: RequestOptions,
  ): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatRequest & { readonly stream?: false }, options?: RequestOptions): Promise<ChatCompletion>;
  create(request: ChatRequest, options?: RequestOptions): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
}

/** One loaded model. It answers requests one after the other. */
export interface Engine {
  readonly info: ModelInfo;
  readonly chat: { readonly completions: Completions };
  stats(): Promise<Stats>;
  /**
   * Changes how much memory experts may take. During an answer the change happens between two
   * tokens, and the answer stays the same. Errors: budget-too-small, out-of-memory. After an error
   * all is as before.
   */
  setBudget(budgetBytes: number | "auto"): Promise<ModelInfo>;
  /** Ends the wait that `Progress.waiting` tells of: what failed is tried again at once. */
  tryNow(): Promise<void>;
  /** The routing recorded so far as CSV (see `EngineOptions.trace`), header line first. */
  trace(): Promise<string>;
  /** Stops the fill and every request (both reject with `closed`), and frees the device. */
  close(): Promise<void>;
}
