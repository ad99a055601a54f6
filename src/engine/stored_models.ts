import type { Store } from "../store/store.ts";
import type { StoredModel, StoreKind, StoreOptions } from "./api.ts";
import { isOfOldForm, keysOf, oldKeysOf, readKey } from "./keys.ts";
import { openSource } from "./open_source.ts";
import { hasIndexedDb, openKind } from "./open_store.ts";

/**
 * The models that this browser keeps for this origin, whole or in part. What engines keep in memory
 * ends with them and is not listed. Errors: store.
 */
export async function listModels(options: StoreOptions = {}): Promise<StoredModel[]> {
  const models = await inEach(options, async (store, kind) =>
    (await modelsIn(store)).map((model) => ({ ...model, store: kind })),
  );
  return models.flat();
}

/**
 * Deletes what is stored of a model, in every revision and recipe. An engine that has it open goes
 * on, and fetches again what it needs. Resolves to the bytes deleted, 0 if nothing was stored.
 * `page`: what relative references are relative to. Errors: store, bad-request.
 */
export async function deleteModel(reference: string, options: StoreOptions = {}, page?: string): Promise<number> {
  const { source } = openSource(reference, page);
  const deleted = await inEach(options, (store) => deleteFrom(store, source.name));
  return deleted.reduce((sum, bytes) => sum + bytes, 0);
}

/** The models in one store. */
export async function modelsIn(store: Store): Promise<Omit<StoredModel, "store">[]> {
  const models = new Map<string, Omit<StoredModel, "store">>();
  for (const [key, bytes] of await store.sizes("")) {
    const parts = readKey(key);
    if (!parts) continue;
    const { name, revision, recipe, record } = parts;
    const id = key.slice(0, -record.length);
    const before = models.get(id) ?? { name, revision, recipe, bytes: 0, complete: false };
    const complete = before.complete || record === "manifest";
    models.set(id, { ...before, bytes: before.bytes + bytes, complete });
  }
  return [...models.values()];
}

/** Deletes a source's records from one store; how many bytes they had. */
export async function deleteFrom(store: Store, name: string): Promise<number> {
  let deleted = 0;
  for (const bytes of (await store.sizes(keysOf(name))).values()) deleted += bytes;
  await store.delete(keysOf(name));
  for (const [key, bytes] of await store.sizes(oldKeysOf(name))) {
    if (!isOfOldForm(key, name)) continue;
    await store.delete(key);
    deleted += bytes;
  }
  return deleted;
}

type Place = Exclude<StoreKind, "memory">;

/**
 * Does `work` in the store that is named, else in each that this browser has. Errors: store, where
 * the one that is named or the database cannot be opened; a private file system that no one named
 * may be missing.
 */
async function inEach<T>(
  { store: named }: StoreOptions,
  work: (store: Store, kind: Place) => Promise<T>,
): Promise<T[]> {
  if (named === "memory") return [];
  const results: T[] = [];
  const places: Place[] = named ? [named] : hasIndexedDb() ? ["indexeddb", "opfs"] : ["opfs"];
  for (const kind of places) {
    const store = await openKind(kind).catch((error) => {
      if (named || kind === "indexeddb") throw error;
    });
    if (!store) continue;
    try {
      results.push(await work(store, kind));
    } finally {
      store.close();
    }
  }
  return results;
}
