/** The public types: OpenAI's chat completion shapes, and what mixtab adds to them. */
import type { Mode } from "../experts/modes.ts";

export type { Mode };

/**
 * Where a model is: a folder's URL (absolute, or relative to the page), a Hub repository
 * `owner/name[@revision]`, or its files by name.
 */
export type ModelReference = string | Readonly<Record<string, Blob | Uint8Array<ArrayBuffer>>>;

/** Where records are kept: in the browser's database, in its private file system, in memory. */
export type StoreKind = "indexeddb" | "opfs" | "memory";

/** See {@link EngineOptions.quantize}. */
export type Quantize = "auto" | "mlx" | boolean;

export interface EngineOptions {
  /**
   * Bytes for resident experts; "auto": as many as the device really gives. Default: all of them,
   * at most 2 GiB. The answer does not depend on it, only the speed. See also `engine.setBudget`.
   */
  readonly budgetBytes?: number | "auto";
  /** Tokens the conversation may have. Default min(max_position_embeddings, 4096). */
  readonly contextLength?: number;
  /**
   * What becomes of weights that are published as f32, f16 or bf16. "auto" (the default; `true` is
   * the same): routed experts at 4 bits, all else that is multiplied at 8, routers as published;
   * "mlx": the bytes of mlx_lm.convert, all at 4 bits; false: as published.
   */
  readonly quantize?: Quantize;
  /** Default "auto": WebGPU where there is an adapter, else the CPU (fit for tiny models only). */
  readonly device?: "auto" | "gpu" | "cpu";
  /**
   * Where weights are kept between visits; "opfs": as files, see bench/RESULTS.md. Default
   * "indexeddb" where there is one. A store that cannot be used is replaced by memory, with a
   * warning.
   */
  readonly store?: StoreKind;
  /** Record which experts serve which token; read it with `engine.trace()`. Default false. */
  readonly trace?: boolean;
  /**
   * Read what the next layers will probably want ahead of their turn. Never changes the answer.
   * Default false: see bench/RESULTS.md.
   */
  readonly prefetch?: boolean;
  /**
   * For tests and measurements: how tokens are run while experts are missing or not. Default
   * "auto", chosen from token to token.
   */
  readonly mode?: Mode | "auto";
  /** Goes on after `createEngine` has resolved, until every expert is in the store. */
  readonly onProgress?: (progress: Progress) => void;
  /** Aborts the loading, the background fill included. */
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
   * opening: config and headers; dense: the engine is not ready yet; experts: it answers already;
   * done.
   */
  readonly phase: "opening" | "dense" | "experts" | "done";
  /** Of the whole model, dense weights and experts; what the store already had counts as loaded. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** Over the last seconds. */
  readonly bytesPerSecond: number;
  readonly from: "network" | "store";
  /**
   * Whether the browser has promised to keep what is stored (`navigator.storage.persist`), which it
   * is asked for a model of 100 MB or more that is about to be stored; absent until it has answered.
   * The last event comes again with the answer.
   */
  readonly persisted?: boolean;
  /**
   * Set when something did not go as hoped but the work goes on: the quota is full, a record was
   * damaged and fetched again, the store cannot be used.
   */
  readonly warning?: string;
}

export interface ModelInfo {
  readonly id: string;
  /** config.json's model_type. */
  readonly architecture: string;
  readonly device: "cpu" | "gpu";
  /** The adapter's name; on the CPU also why. */
  readonly deviceDescription: string;
  readonly layers: number;
  /** Per layer; 0 in a dense model, as are `top`, `recordBytes`, `slots`. */
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

/** What the expert pool did. */
export interface PoolCounters {
  readonly tokens: number;
  /** Experts wanted (once per layer and step) that were resident, and that were not. */
  readonly hits: number;
  readonly misses: number;
  readonly uploads: number;
  readonly uploadedBytes: number;
  readonly bytesFromStore: number;
  readonly bytesFromNetwork: number;
  /** Submissions; one per token where nothing is missing. */
  readonly passes: number;
  /** Layers that stood still for want of an expert. */
  readonly stalls: number;
  /** Time in which nothing could run for want of an expert. */
  readonly stalledMs: number;
  /**
   * Experts read on a guess; bytes of those that were wanted later, that were evicted unused, that
   * were wanted before they had come.
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
   * How the next token is run. queued: all experts are resident, tokens are submitted ahead;
   * optimistic: one submission, which stalls where an expert is missing; grouped: many are missing,
   * a submission holds few layers.
   */
  readonly mode: Mode;
  /**
   * By MoE layer, the share of wanted experts that were guessed one layer before; empty without
   * prefetch.
   */
  readonly recall: readonly number[];
}

export interface ChatMessage {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
}

/**
 * OpenAI's request. Options that are not here are refused with `unsupported-option`, never ignored.
 */
export interface ChatRequest {
  readonly messages: readonly ChatMessage[];
  /** Accepted and not used: an engine has one model. */
  readonly model?: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean } | null;
  readonly max_tokens?: number | null;
  readonly max_completion_tokens?: number | null;
  /**
   * Defaults of temperature, top_p and top_k: the model's generation_config.json, else 1, 1, 0. 0
   * is greedy.
   */
  readonly temperature?: number | null;
  readonly top_p?: number | null;
  readonly top_k?: number | null;
  readonly seed?: number | null;
  readonly stop?: string | readonly string[] | null;
  readonly n?: 1 | null;
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  /** The pool's counters of this request alone. */
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
    readonly message: { readonly role: "assistant"; readonly content: string; readonly refusal: null };
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
  /** Empty in the last chunk, which carries `usage` (if stream_options.include_usage). */
  readonly choices: readonly {
    readonly index: 0;
    readonly delta: { readonly role?: "assistant"; readonly content?: string };
    readonly logprobs: null;
    readonly finish_reason: FinishReason | null;
  }[];
  readonly usage?: Usage | null;
}

export interface RequestOptions {
  /**
   * Stops the answer: `create` rejects (or the stream throws) with the signal's reason; the
   * conversation's cache stays usable.
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

/** One model, loaded. Requests are answered one after the other. */
export interface Engine {
  readonly info: ModelInfo;
  readonly chat: { readonly completions: Completions };
  stats(): Promise<Stats>;
  /**
   * Changes the memory for experts, also in the middle of an answer (between two tokens); the
   * answer stays the same. Errors: budget-too-small, out-of-memory; all is as before then.
   */
  setBudget(budgetBytes: number | "auto"): Promise<ModelInfo>;
  /** The routing recorded so far as CSV (see `EngineOptions.trace`), header line first. */
  trace(): Promise<string>;
  /** Stops the fill and any request (both reject with `closed`), frees the device. */
  close(): Promise<void>;
}
