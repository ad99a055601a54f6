import type { MixtabError } from "../index.ts";

/** An error as the widget shows it: a stable code, and a message that names the next step. */
export interface Failure {
  readonly code: MixtabError["code"] | "unexpected";
  readonly message: string;
  readonly cause: unknown;
}

/**
 * Failures that may not happen again on another try. After the others, the user needs another
 * browser or page, another model, or another question.
 */
const WORTH_A_RETRY: ReadonlySet<string> = new Set<Failure["code"]>([
  "device-lost",
  "out-of-memory",
  "not-found",
  "http",
  "no-range",
  "network",
  "changed",
  "store",
  "quota",
  "missing-shard",
  "closed",
  "not-finite",
  "unexpected",
]);

/** Failures after which the engine cannot be used any more. */
const ENDS_THE_ENGINE: ReadonlySet<string> = new Set<Failure["code"]>([
  "device-lost",
  "out-of-memory",
  "changed",
  "closed",
  "not-finite",
]);

/** Failures for which what is stored may be the cause. */
const OF_STORAGE: ReadonlySet<string> = new Set<Failure["code"]>(["store", "quota", "not-finite"]);

/** Whether to show what is stored. */
export const concernsStorage = ({ code }: Failure): boolean => OF_STORAGE.has(code);

/** Whether a Retry button makes sense. */
export const worthARetry = ({ code }: Failure): boolean => WORTH_A_RETRY.has(code);

/** Whether the model must be opened anew before the next answer. */
export const endsTheEngine = ({ code }: Failure): boolean => ENDS_THE_ENGINE.has(code);

/**
 * Makes a {@link Failure} of anything that was thrown. It goes by the fields and not by the class,
 * since an error may come from a worker or from another copy of the package.
 */
export function failureOf(error: unknown): Failure {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  const text = typeof message === "string" && message !== "" ? message : String(error);
  if (typeof code === "string") return { code: code as Failure["code"], message: text, cause: error };
  return {
    code: "unexpected",
    message: `${text} (This should not happen. Try again; if it stays, please report these words.)`,
    cause: error,
  };
}
