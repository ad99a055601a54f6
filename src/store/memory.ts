import { MixtabError } from "../base/errors.ts";
import { sha256 } from "../base/hash.ts";
import { RecordReader } from "./reader.ts";
import type { Slices } from "./slices.ts";
import type { Store } from "./store.ts";

export interface MemoryRecord {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly sha256: string;
}

/**
 * A store whose records last as long as the map `records`. It behaves as the IndexedDB store does,
 * copies and hashes included, so that it can stand in for that. More than `mostBytes` in all is the
 * error quota.
 */
export function memoryStore(
  records: Map<string, MemoryRecord> = new Map(),
  mostBytes = Number.POSITIVE_INFINITY,
): Store {
  const keysWith = (prefix: string) => [...records.keys()].filter((key) => key.startsWith(prefix)).sort();
  const bytesOf = (key: string) => records.get(key)?.bytes.length ?? 0;
  /** Of records whose hash is being made. */
  let arrivingBytes = 0;
  const usedBytes = () => [...records.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  const reader = new RecordReader({
    async find(key) {
      const record = records.get(key);
      return record && { bytes: record.bytes.length, sha256: record.sha256, open: () => copies(record.bytes) };
    },
    async remove(key) {
      records.delete(key);
    },
  });

  return {
    read: (key, accept, signal) => reader.read(key, accept, signal),

    async put(key, bytes) {
      const { length } = bytes;
      if (usedBytes() + arrivingBytes - bytesOf(key) + length > mostBytes)
        throw new MixtabError("quota", `More than ${mostBytes} bytes are not kept in memory.`);
      arrivingBytes += length;
      try {
        const copy = bytes.slice();
        records.set(key, { bytes: copy, sha256: await sha256(copy) });
      } finally {
        arrivingBytes -= length;
      }
      reader.forget(key);
    },

    keys: async (prefix) => keysWith(prefix),

    sizes: async (prefix) => new Map(keysWith(prefix).map((key) => [key, bytesOf(key)])),

    async delete(prefix) {
      for (const key of keysWith(prefix)) records.delete(key);
      reader.forgetAll(prefix);
    },

    doubt: () => reader.forgetAll(),
    close() {},
  };
}

function copies(record: Uint8Array<ArrayBuffer>): Slices {
  let at = 0;
  return {
    async next(bytes) {
      at += bytes;
      return record.slice(at - bytes, at);
    },
    close() {},
  };
}
