import { sha256 } from "../base/hash.ts";
import type { Store } from "./store.ts";

export interface MemoryRecord {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly sha256: string;
}

/** Records that last as long as `records` does. Behaves as IndexedDB does, copies and hashes included, so that it can stand in for it. */
export function memoryStore(records: Map<string, MemoryRecord> = new Map()): Store {
  /** By key, the hash of what was found right. */
  const verified = new Map<string, string>();
  const keysWith = (prefix: string) => [...records.keys()].filter((key) => key.startsWith(prefix)).sort();

  return {
    async get(key) {
      const record = records.get(key);
      if (!record) return undefined;
      const bytes = record.bytes.slice();
      if (verified.get(key) === record.sha256) return bytes;
      if ((await sha256(bytes)) !== record.sha256) {
        if (records.get(key) === record) records.delete(key);
        return undefined;
      }
      verified.set(key, record.sha256);
      return bytes;
    },

    async put(key, bytes) {
      const copy = bytes.slice();
      records.set(key, { bytes: copy, sha256: await sha256(copy) });
    },

    keys: async (prefix) => keysWith(prefix),

    async delete(prefix) {
      for (const key of keysWith(prefix)) records.delete(key);
    },

    close() {},
  };
}
