import { hasCode } from "../base/errors.ts";
import { openIndexedDbStore } from "../store/indexeddb.ts";
import { memoryStore } from "../store/memory.ts";
import { openOpfsStore } from "../store/opfs.ts";
import type { Store } from "../store/store.ts";
import type { StoreKind } from "./api.ts";

/**
 * What the memory store may hold where it stands in for a store that cannot be used. Nobody chose
 * it then, and a model may be larger than what a page is given.
 */
const STAND_IN_BYTES = 1024 ** 3;

/** Opens a browser's store. Errors: store. */
export async function openKind(kind: Exclude<StoreKind, "memory">): Promise<Store> {
  return await (kind === "opfs" ? openOpfsStore() : openIndexedDbStore());
}

/**
 * The store that was asked for, by default IndexedDB where there is one. Where it cannot be used
 * (a sandboxed frame, a private window, a damaged database), memory stands in, and `note` is told.
 */
export async function openStore(wanted: StoreKind | undefined, note: (text: string) => void): Promise<Store> {
  const kind = wanted ?? (hasIndexedDb() ? "indexeddb" : "memory");
  if (kind === "memory") return memoryStore();
  try {
    return await openKind(kind);
  } catch (error) {
    note(`${reasonOf(error)} The model is kept in memory instead, until the page is left.`);
    return memoryStore(new Map(), STAND_IN_BYTES);
  }
}

/** Whether there is an IndexedDB; one that refuses to be looked at counts, since it is to be told. */
export function hasIndexedDb(): boolean {
  try {
    return typeof indexedDB !== "undefined";
  } catch {
    return true;
  }
}

/**
 * A store whose failures cost time and not the answer: what cannot be listed or read counts as
 * absent, and `note` is told, once. `put` fails as before: who calls it goes on without.
 */
export function forgiving(store: Store, note: (text: string) => void): Store {
  let told = false;
  const without = async <T>(work: Promise<T>, outcome: T): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      if (!hasCode(error, "store")) throw error;
      if (!told) note(`${error.message} What cannot be read from it is fetched again.`);
      told = true;
      return outcome;
    }
  };
  return {
    read: (key, accept, signal) => without(store.read(key, accept, signal), undefined),
    put: (key, bytes) => store.put(key, bytes),
    keys: (prefix) => without(store.keys(prefix), []),
    sizes: (prefix) => without(store.sizes(prefix), new Map()),
    delete: (prefix) => without(store.delete(prefix), undefined),
    doubt: () => store.doubt(),
    close: () => store.close(),
  };
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
