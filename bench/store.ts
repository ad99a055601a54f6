import { deleteDB, openDB } from "idb";
import { sha256 } from "../src/base/hash.ts";
import { release } from "../src/base/release.ts";
import { fileOf } from "../src/store/file_names.ts";
import { openIndexedDbStore } from "../src/store/indexeddb.ts";
import { openOpfsStore } from "../src/store/opfs.ts";
import { keptBlob, RecordReader } from "../src/store/reader.ts";
import type { Store } from "../src/store/store.ts";

/** The part of bench/store.mjs that runs in a dedicated worker, as the engine does. */

const NAME = "mixtab-bench";
const MEGABYTE = 1e6;
const MIB = 1024 * 1024;

/** How to get at a store's records without the store. */
interface Place {
  open(): Promise<Store>;
  blob(key: string): Promise<Blob>;
  clear(): Promise<void>;
}

const PLACES: Record<string, Place> = {
  indexeddb: {
    open: () => openIndexedDbStore(NAME),
    async blob(key) {
      const database = await openDB(NAME);
      const { blob } = await database.get("records", key);
      database.close();
      return blob;
    },
    clear: () => deleteDB(NAME),
  },
  opfs: {
    open: () => openOpfsStore(NAME),
    async blob(key) {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle(NAME);
      return await (await (await root.getDirectoryHandle("records")).getFileHandle(fileOf(key).name)).getFile();
    },
    clear: async () => (await navigator.storage.getDirectory()).removeEntry(NAME, { recursive: true }),
  },
};

interface Request {
  readonly place: string;
  readonly megabytes: number;
  readonly records: number;
  readonly rounds: number;
  /** The lengths of slices, in MiB, that are measured as well. */
  readonly slices: readonly number[];
}

/**
 * Measures. `rates`: for each way of reading, megabytes per second in each round. `once`: the rates
 * of putting the records and of reading them for the first time.
 */
async function measure({ place: name, megabytes, records, rounds, slices }: Request) {
  const place = PLACES[name]!;
  const store = await place.open();
  const keys = Array.from({ length: records }, (_, i) => `record/${i}`);
  const total = megabytes * records;
  const rate = async (work: () => Promise<void>) => {
    const began = performance.now();
    await work();
    return (total * 1000) / (performance.now() - began);
  };
  const bytes = new Uint8Array(megabytes * MEGABYTE);
  const put = await rate(async () => {
    for (const [i, key] of keys.entries()) {
      for (let at = i; at < bytes.length; at += 64) bytes[at] = at + i;
      await store.put(key, bytes);
    }
  });
  const read = async (from: Pick<Store, "read">, key: string) => {
    const length = await from.read(key, (_, slice) => release(slice));
    if (length !== bytes.length) throw new Error(`${key} could not be read`);
  };
  const first = await rate(async () => {
    for (const key of keys) await read(store, key);
  });
  const blobs = new Map<string, Blob>();
  for (const key of keys) blobs.set(key, await place.blob(key));
  const ways: Record<string, (key: string) => Promise<void>> = {
    raw: async (key) => release(new Uint8Array(await blobs.get(key)!.arrayBuffer())),
    store: (key) => read(store, key),
  };
  for (const mib of slices) {
    const find = async (key: string) => {
      const blob = blobs.get(key)!;
      return keptBlob(blob, blob.size, await sha256(new Uint8Array(await blob.arrayBuffer())));
    };
    const reader = new RecordReader({ find, remove: async () => {} }, { sliceBytes: mib * MIB });
    ways[`${mib} MiB`] = async (key) => void (await reader.read(key, (_, slice) => release(slice)));
  }
  const rates: Record<string, number[]> = Object.fromEntries(Object.keys(ways).map((way) => [way, []]));
  // The first round is not counted: it warms the browser's caches for all ways.
  for (let round = 0; round <= rounds; round++) {
    const spent: Record<string, number> = {};
    for (const [i, key] of keys.entries()) {
      const order = Object.entries(ways);
      for (const [way, readIt] of rotate(order, round + i)) {
        const began = performance.now();
        await readIt(key);
        spent[way] = (spent[way] ?? 0) + performance.now() - began;
      }
    }
    if (round > 0) for (const way of Object.keys(ways)) rates[way]!.push((total * 1000) / spent[way]!);
  }
  store.close();
  await place.clear();
  return { rates, once: { put, first } };
}

const rotate = <T>(list: readonly T[], by: number): T[] => list.map((_, i) => list[(i + by) % list.length]!);

addEventListener("message", ({ data }) => {
  measure(data).then(
    (result) => postMessage({ result }),
    (error) => postMessage({ error: String(error?.stack ?? error) }),
  );
});
