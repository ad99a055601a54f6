/** What the page and the worker say to each other. Every call has an id; its answers carry it. */
import { type ErrorCode, MixtabError } from "../base/errors.ts";
import type {
  ChatCompletionChunk,
  ChatRequest,
  EngineOptions,
  ModelInfo,
  ModelReference,
  Progress,
} from "../engine/api.ts";

export type Call =
  | { readonly id: number; readonly kind: "open"; readonly model: ModelReference; readonly options: WorkerOptions }
  | { readonly id: number; readonly kind: "create"; readonly request: ChatRequest }
  | { readonly id: number; readonly kind: "setBudget"; readonly budgetBytes: number | "auto" }
  | { readonly id: number; readonly kind: "stats" | "trace" | "close" }
  | { readonly id: number; readonly kind: "tryNow" }
  /** Aborts the call of that id. */
  | { readonly id: number; readonly kind: "abort" };

export type Answer =
  | { readonly id: number; readonly kind: "result"; readonly value: unknown }
  | { readonly id: number; readonly kind: "error"; readonly error: WireError }
  /** `info`: what holds by now, once the engine is open. */
  | {
      readonly id: number;
      readonly kind: "progress";
      readonly progress: Progress;
      readonly info: ModelInfo | undefined;
    }
  /** A stream has begun: chunks follow, then a result. */
  | { readonly id: number; readonly kind: "stream" }
  | { readonly id: number; readonly kind: "chunk"; readonly chunk: ChatCompletionChunk };

/** The options that can be sent in a message: all but functions and signals. */
export type WorkerOptions = Omit<EngineOptions, "onProgress" | "signal">;

export interface WireError {
  readonly name: string;
  readonly message: string;
  readonly code?: ErrorCode;
}

export function toWire(error: unknown): WireError {
  const { name, message } = error instanceof Error || error instanceof DOMException ? error : new Error(String(error));
  return error instanceof MixtabError ? { name, message, code: error.code } : { name, message };
}

export function fromWire({ name, message, code }: WireError): Error {
  if (code) return new MixtabError(code, message);
  return name === "AbortError" ? new DOMException(message, name) : Object.assign(new Error(message), { name });
}
