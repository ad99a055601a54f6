/** The stable codes of {@link MixtabError}; a message may change, a code does not. */
export type ErrorCode =
  | "no-webgpu" // no adapter, or no navigator.gpu
  | "insecure-context" // WebGPU, IndexedDB locks and hashing need https or localhost
  | "device-lost"
  | "out-of-memory" // the GPU refused an allocation
  | "not-found" // 404, or a missing file
  | "http" // any other status
  | "no-range" // the server does not answer Range requests with 206
  | "network" // a connection that stays cut or silent
  | "changed" // a file became another on the server while it was read
  | "too-large" // a text file beyond the limit of its kind
  | "bad-json"
  | "bad-safetensors"
  | "bad-config"
  | "unsupported-model"
  | "unsupported-quantization"
  | "missing-tensor"
  | "missing-shard"
  | "bad-tokenizer"
  | "bad-template"
  | "bad-messages" // the chat template refuses the conversation
  | "bad-request" // an option of the wrong type or out of range
  | "unsupported-option" // an option that is not there yet
  | "budget-too-small"
  | "empty-prompt"
  | "prompt-too-long"
  | "store" // IndexedDB refuses to open
  | "quota" // the store is full
  | "not-finite" // the model computed NaN or infinity
  | "closed"; // the engine was closed

/**
 * An error whose cause lies outside mixtab: a bad file, a failed download, a wrong option. Its
 * `message` says what is wrong and what to do next.
 */
export class MixtabError extends Error {
  override readonly name = "MixtabError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** Whether an error is ours, of that code. */
export const hasCode = (error: unknown, code: ErrorCode): error is MixtabError =>
  error instanceof MixtabError && error.code === code;
