/** Platforms whose promises stay pending for ever, as where a person deletes the site's data. */
import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import fc from "fast-check";
import { deleteDB, openDB } from "idb";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { sha256 } from "../../../src/base/hash.ts";
import { openIndexedDbStore } from "../../../src/store/indexeddb.ts";
import { memoryStore } from "../../../src/store/memory.ts";
import { inTime, Overdue } from "../../../src/store/patience.ts";
import { type Kept, RecordReader } from "../../../src/store/reader.ts";
import { readWhole, type Store } from "../../../src/store/store.ts";

const SHORT = { stillMs: 150, bytesPerSecond: 1e9 };
const never = <T>() => new Promise<T>(() => {});
/** A request of the database that is never answered. */
const unanswered = <T extends IDBRequest = IDBRequest>(): T =>
  Object.assign(Object.create(IDBOpenDBRequest.prototype), { addEventListener() {}, removeEventListener() {} });
const content = Uint8Array.from({ length: 200 }, (_, index) => index);

beforeEach(() => {
  vi.stubGlobal("indexedDB", new IDBFactory());
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

test("what comes in time is passed on, a failure too; what does not is overdue, later for more bytes", async () => {
  expect(await inTime(Promise.resolve(3), SHORT)).toBe(3);
  await expect(inTime(Promise.reject(new Error("no")), SHORT)).rejects.toThrow("no");
  await expect(inTime(never(), SHORT)).rejects.toThrow(Overdue);
  const slow = { stillMs: 0, bytesPerSecond: 1000 };
  await expect(inTime(new Promise((later) => setTimeout(later, 5)), slow, 1000)).resolves.toBeUndefined();
});

/** A record whose bytes stop coming after `sound` bytes while `stuck`. */
async function sticking() {
  const state = { stuck: false, lost: 0, removed: 0, late: [] as (() => void)[] };
  const record: Kept = {
    bytes: content.length,
    sha256: await sha256(content),
    open() {
      let at = 0;
      return {
        async next(bytes) {
          if (state.stuck && at > 0) await new Promise<void>((resolve) => state.late.push(resolve));
          at += bytes;
          return content.slice(at - bytes, at);
        },
        close() {},
      };
    },
  };
  const shelves = {
    find: async () => (state.lost === 0 ? record : undefined),
    remove: async () => void state.removed++,
    lost: () => void state.lost++,
  };
  return { state, reader: new RecordReader(shelves, { sliceBytes: 64, patience: SHORT }) };
}

test("a read whose bytes stop coming ends as unreadable; the way to the records is found anew, nothing comes late", async () => {
  const { state, reader } = await sticking();
  const accepted: number[] = [];
  const read = () => reader.read("a", (offset) => void accepted.push(offset));
  expect(await read()).toBe(content.length);
  state.stuck = true;
  accepted.length = 0;
  expect(await read()).toBeUndefined();
  expect(accepted).toEqual([0]);
  expect(state.lost).toBe(1);
  for (const answer of state.late) answer();
  await new Promise((later) => setTimeout(later, 5));
  expect(accepted, "what comes after all is dropped").toEqual([0]);
});

test("a database that never answers is an error when it is opened, and costs a record when it is read", async () => {
  const store = await openIndexedDbStore("mixtab", SHORT);
  await store.put("a", content);
  const get = vi.spyOn(IDBObjectStore.prototype, "get").mockImplementation(unanswered);
  expect(await readWhole(store, "a")).toBeUndefined();
  get.mockRestore();
  expect(await readWhole(store, "a"), "the next read opens it again").toEqual(content);
  store.close();

  vi.stubGlobal("indexedDB", { open: unanswered });
  await expect(openIndexedDbStore("other", SHORT)).rejects.toMatchObject({ code: "store" });
});

test("a database that is opened too late is closed again, so that it stands in nobody's way", async () => {
  const holder = await openDB("mixtab", 1);
  const isDeleted = deleteDB("mixtab"); // waits for the holder, as all that opens the database after it
  await expect(openIndexedDbStore("mixtab", SHORT)).rejects.toMatchObject({ code: "store" });
  const close = vi.spyOn(IDBDatabase.prototype, "close");
  holder.close();
  await isDeleted;
  await vi.waitFor(() => expect(close).toHaveBeenCalledTimes(2));
});

/** What may happen to a store while its records are read. */
const EVENTS = ["put", "replace", "damage", "clear", "doubt", "stall", "close"] as const;

/** Flips a bit of a record in the database, past the store. */
async function damageInDatabase(name: string, key: string): Promise<void> {
  const database = await openDB(name);
  const record = await database.get("records", key);
  if (record) {
    const bytes = new Uint8Array(await record.blob.arrayBuffer());
    bytes[7]! ^= 1;
    await database.put("records", { ...record, blob: new Blob([bytes]) }, key);
  }
  database.close();
}

test("whatever happens to a store, a read gives a whole record, nothing, or an error; none stays pending", async () => {
  const script = fc.array(fc.tuple(fc.constantFrom(...EVENTS), fc.integer({ min: 0, max: 2 })), {
    minLength: 1,
    maxLength: 12,
    size: "max",
  });
  await fc.assert(
    fc.asyncProperty(script, fc.boolean(), async (events, inDatabase) => {
      vi.stubGlobal("indexedDB", new IDBFactory());
      const records = new Map();
      const open = async () => (inDatabase ? await openIndexedDbStore("chaos", SHORT) : memoryStore(records));
      let store: Store = await open();
      const written = new Map<string, Set<string>>();
      const put = async (key: string, byte: number) => {
        const bytes = new Uint8Array(300).fill(byte);
        written.set(key, (written.get(key) ?? new Set()).add(bytes.join()));
        await store.put(key, bytes).catch(() => {});
      };
      const reads: Promise<void>[] = [];
      const read = (key: string) => {
        const checked = readWhole(store, key).then(
          (bytes) => {
            if (bytes) expect(written.get(key)?.has(bytes.join()), "a record that was put").toBe(true);
          },
          (error) => expect(error).toHaveProperty("code"),
        );
        reads.push(checked);
      };
      for (const [index, [event, which]] of events.entries()) {
        const key = `r${which}`;
        read(key);
        if (event === "put" || event === "replace") await put(key, index);
        else if (event === "clear") await store.delete("").catch(() => {});
        else if (event === "doubt") store.doubt();
        else if (event === "damage" && inDatabase) await damageInDatabase("chaos", key);
        else if (event === "damage" && records.has(key)) records.get(key).bytes[7] ^= 1;
        else if (event === "close") {
          store.close();
          read(key);
          store = await open();
        } else if (event === "stall" && inDatabase) {
          const get = vi.spyOn(IDBObjectStore.prototype, "get").mockImplementation(unanswered);
          await readWhole(store, key).catch(() => {});
          get.mockRestore();
        }
        if (event === "damage") {
          store.doubt();
          read(key);
        }
      }
      await Promise.all(reads);
      store.close();
    }),
    { seed: 20261127, numRuns: 40 },
  );
});
