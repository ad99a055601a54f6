/** mixtab: mixture-of-experts language models in a browser tab. */
import { MixtabError } from "./base/errors.ts";
import type { Engine, EngineOptions, ModelReference, StoreOptions } from "./engine/api.ts";
import { openEngine } from "./engine/engine.ts";
import { openSource } from "./engine/open_source.ts";
import { deleteModel as deleteStored } from "./engine/stored_models.ts";
import { resolveModel } from "./source/hub.ts";
import { openInWorker } from "./worker/client.ts";

export { type ErrorCode, MixtabError } from "./base/errors.ts";
export type * from "./engine/api.ts";
export { listModels } from "./engine/stored_models.ts";

/**
 * Opens a model: resolves when it can answer, which is before the last expert has arrived. In a
 * page the engine runs in a worker, where that can be.
 * @throws MixtabError with a stable `code`; see {@link ErrorCode}.
 */
export async function createEngine(model: ModelReference, options: EngineOptions = {}): Promise<Engine> {
  if (typeof model === "string") assertNamed(model);
  if (globalThis.isSecureContext === false)
    throw new MixtabError(
      "insecure-context",
      "This page was loaded without encryption, where browsers offer neither WebGPU nor hashing. Open it by https, or from localhost.",
    );
  options.signal?.throwIfAborted();
  const absolute = typeof model === "string" ? resolveModel(model, globalThis.document?.baseURI) : model;
  if (!hasWorkers()) return await openEngine(openSource(absolute), options);
  const { default: EngineWorker } = await import("./worker/worker.ts?worker&inline");
  return await openInWorker(new EngineWorker(), absolute, options);
}

/**
 * Deletes what this browser keeps of a model, named as it was for {@link createEngine} (or by
 * `listModels`). Resolves to the bytes deleted; an engine that has the model open goes on.
 * @throws MixtabError: store, bad-request.
 */
export async function deleteModel(reference: string, options: StoreOptions = {}): Promise<number> {
  assertNamed(reference);
  return await deleteStored(reference, options, globalThis.document?.baseURI);
}

/**
 * Whether a worker of ours can be a secure context: not where the page has no origin of its own, as
 * in a sandboxed frame. There the engine runs in the page.
 */
const hasWorkers = (): boolean => typeof Worker !== "undefined" && globalThis.origin !== "null";

function assertNamed(reference: string): void {
  if (reference.trim() === "")
    throw new MixtabError("bad-request", "No model is named. Give a folder's URL, or owner/name of a repository.");
}
