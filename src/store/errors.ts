import { MixtabError } from "../base/errors.ts";

/**
 * The error that the user sees for a failed write of `bytes` bytes: quota where the browser has no
 * more room, else store.
 */
export async function writeError(place: string, bytes: number, cause: unknown): Promise<MixtabError> {
  if (nameOf(cause) !== "QuotaExceededError") return storeError(place, cause);
  // The message leaves out the quota, since Chromium reports another than it enforces.
  const { usage } = (await globalThis.navigator?.storage?.estimate().catch(() => undefined)) ?? {};
  const beside = usage === undefined ? "" : ` beside the ${usage} that are kept`;
  return new MixtabError(
    "quota",
    `The browser has no more room for this page: ${bytes} bytes could not be stored${beside}. Free disk space, or delete other models.`,
    cause,
  );
}

/**
 * The error that the user sees for any other failure of the browser's `place` ("database", "private
 * file system").
 */
export function storeError(place: string, error: unknown): MixtabError {
  if (error instanceof MixtabError) return error;
  const what =
    nameOf(error) === "VersionError"
      ? "it was made by a newer mixtab; reload the page"
      : error instanceof Error
        ? error.message
        : String(error);
  return new MixtabError(
    "store",
    `The browser's ${place} cannot be used: ${what}. Private windows may forbid it; the memory store does without.`,
    error,
  );
}

/** The error for any use of a store that was closed. */
export const closedError = () => new MixtabError("closed", "The store was closed. Open the model again.");

/** The name by which the platform's errors are told apart. */
export const nameOf = (error: unknown): string =>
  error instanceof Error || error instanceof DOMException ? error.name : "";
