import { deleteDB, openDB } from "idb";
import { afterEach, describe, expect, it } from "vitest";
import { openIndexedDbStore } from "../../../src/store/indexeddb.ts";
import { readWhole } from "../../../src/store/store.ts";
import { type Kind, storeSuite } from "./store_suite.ts";

const NAME = "mixtab-test";

interface Stored {
  blob: Blob;
  bytes: number;
  sha256: string;
}

/** Reads a record behind the store's back, and writes what `change` makes of it. */
async function tamper(key: string, change: (record: Stored) => Promise<unknown>): Promise<void> {
  const database = await openDB(NAME);
  const changed = await change((await database.get("records", key)) as Stored);
  await database.put("records", changed, key);
  database.close();
}

const kind: Kind = {
  open: () => openIndexedDbStore(NAME),
  clear: () => deleteDB(NAME),
  flip: (key) =>
    tamper(key, async (record) => {
      const bytes = new Uint8Array(await record.blob.arrayBuffer());
      bytes[bytes.length >> 1]! ^= 16;
      return { ...record, blob: new Blob([bytes]) };
    }),
};

/** Everything that can be caused without the browser's own help; run in Node on fake-indexeddb and in Chromium. */
export function indexedDbSuite(name: string): void {
  storeSuite(name, kind);

  describe(`${name}, its connection`, () => {
    afterEach(() => deleteDB(NAME));

    it("keeps a record as Blob, length and hash under its key", async () => {
      const store = await kind.open();
      await store.put("a", Uint8Array.of(97, 98, 99));
      store.close();
      const database = await openDB(NAME);
      const record = (await database.get("records", "a")) as Stored;
      database.close();
      expect(record.blob).toBeInstanceOf(Blob);
      expect(await record.blob.text()).toBe("abc");
      expect(record).toMatchObject({
        bytes: 3,
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      });
    });

    it.each([
      ["a Blob of another length", { blob: new Blob(["abcd"]) }],
      ["no Blob", { blob: null }],
      ["a Blob that cannot be read", { blob: 7 }],
    ])("takes a record with %s for absent, and deletes it", async (_, damage) => {
      const store = await kind.open();
      await store.put("a", Uint8Array.of(97, 98, 99));
      await tamper("a", async (record) => ({ ...record, ...damage }));
      expect(await readWhole(store, "a")).toBeUndefined();
      expect(await store.keys("")).toEqual([]);
      store.close();
    });

    it("lets go when another tab deletes the database, and goes on with an empty one", async () => {
      const store = await kind.open();
      await store.put("a", Uint8Array.of(1));
      await deleteDB(NAME);
      expect(await readWhole(store, "a")).toBeUndefined();
      await store.put("b", Uint8Array.of(2));
      expect(await store.keys("")).toEqual(["b"]);
      store.close();
    });

    it("lets go when another tab needs a newer version, and then says so", async () => {
      const store = await kind.open();
      const newer = await openDB(NAME, 2);
      await expect(store.put("a", Uint8Array.of(1))).rejects.toMatchObject({
        code: "store",
        message: expect.stringContaining("newer mixtab"),
      });
      await expect(readWhole(store, "a")).rejects.toMatchObject({ code: "store" });
      await expect(store.keys("")).rejects.toMatchObject({ code: "store" });
      await expect(kind.open()).rejects.toMatchObject({ code: "store" });
      newer.close();
      store.close();
    });

    it("opens again where the browser ended the connection", async () => {
      const open = indexedDB.open;
      const connections: IDBDatabase[] = [];
      indexedDB.open = (...request) => {
        const opening = open.apply(indexedDB, request);
        opening.addEventListener("success", () => connections.push(opening.result));
        return opening;
      };
      try {
        const store = await kind.open();
        await store.put("a", Uint8Array.of(1));
        connections[0]!.close(); // without a word to its owner
        expect(await readWhole(store, "a")).toEqual(Uint8Array.of(1));
        connections[1]!.close();
        await store.put("b", Uint8Array.of(2));
        expect(await store.keys("")).toEqual(["a", "b"]);
        store.close();
      } finally {
        indexedDB.open = open;
      }
    });

    it("is closed for good by close", async () => {
      const store = await kind.open();
      store.close();
      await expect(readWhole(store, "a")).rejects.toMatchObject({ code: "closed" });
      await expect(store.put("a", Uint8Array.of(1))).rejects.toMatchObject({ code: "closed" });
    });
  });
}
