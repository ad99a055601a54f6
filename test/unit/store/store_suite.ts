import { afterEach, describe, expect, it, vi } from "vitest";
import type { Store } from "../../../src/store/store.ts";

/** One kind of store under test. */
export interface Kind {
  /** A new session on the same records. */
  open(): Promise<Store>;
  /** Changes one byte of a record behind the store's back. */
  flip(key: string): Promise<void>;
  /** Forgets every record. */
  clear(): Promise<void>;
}

const bytesOf = (length: number, seed = 1): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 7) & 255);

/** As toEqual, which takes seconds for long arrays. */
function expectSame(got: Uint8Array | undefined, wanted: Uint8Array): void {
  expect(got?.length).toBe(wanted.length);
  expect(wanted.findIndex((byte, i) => byte !== got![i])).toBe(-1);
}

/** What every store does, in Node and in the browser. */
export function storeSuite(name: string, kind: Kind): void {
  describe(name, () => {
    const open: Store[] = [];
    const session = async () => {
      const store = await kind.open();
      open.push(store);
      return store;
    };
    afterEach(async () => {
      for (const store of open.splice(0)) store.close();
      await kind.clear();
    });

    it("has nothing under an absent key", async () => {
      const store = await session();
      expect(await store.get("no")).toBeUndefined();
      expect(await store.keys("")).toEqual([]);
      await store.delete("no");
    });

    it.each([0, 1, 1000, 300_001])("gives %i bytes back, in this session and in the next", async (length) => {
      const bytes = bytesOf(length);
      const store = await session();
      await store.put("a", bytes);
      expectSame(await store.get("a"), bytes);
      expectSame(await (await session()).get("a"), bytes);
    });

    it("stores what a view shows, not what lies around it", async () => {
      const store = await session();
      await store.put("a", bytesOf(100).subarray(10, 20));
      expect(await store.get("a")).toEqual(bytesOf(100).slice(10, 20));
    });

    it("keeps its own copy: neither the bytes put nor the bytes got are the record", async () => {
      const store = await session();
      const bytes = bytesOf(50);
      await store.put("a", bytes);
      bytes.fill(0);
      const got = await store.get("a");
      expect(got).toEqual(bytesOf(50));
      got!.fill(0);
      expect(await store.get("a")).toEqual(bytesOf(50));
    });

    it("replaces a record that is put again", async () => {
      const store = await session();
      await store.put("a", bytesOf(10, 1));
      expect(await store.get("a")).toEqual(bytesOf(10, 1));
      await store.put("a", bytesOf(20, 2));
      expect(await store.get("a")).toEqual(bytesOf(20, 2));
      expect(await store.keys("")).toEqual(["a"]);
    });

    it("lists the keys that begin with a prefix, in order, and no others", async () => {
      const store = await session();
      const keys = ["m@1/q4/b", "m@1/q4/a", "m@1/q4", "m@1/q40", "m@2/q4/a", "m@1/q4/\uffffz", "z"];
      for (const key of keys) await store.put(key, bytesOf(3));
      expect(await store.keys("m@1/q4/")).toEqual(["m@1/q4/a", "m@1/q4/b", "m@1/q4/\uffffz"]);
      expect(await store.keys("m@1/q4/\uffff")).toEqual(["m@1/q4/\uffffz"]);
      expect(await store.keys("")).toEqual([...keys].sort());
      expect(await store.keys("y")).toEqual([]);
    });

    it("deletes the keys that begin with a prefix, and no others", async () => {
      const store = await session();
      for (const key of ["m@1/a", "m@1/b", "m@10/a", "n"]) await store.put(key, bytesOf(3));
      await store.delete("m@1/");
      expect(await store.keys("")).toEqual(["m@10/a", "n"]);
      expect(await store.get("m@1/a")).toBeUndefined();
      expect(await store.get("n")).toEqual(bytesOf(3));
      await store.delete("");
      expect(await store.keys("")).toEqual([]);
    });

    it("takes many puts at once", async () => {
      const store = await session();
      await Promise.all(Array.from({ length: 24 }, (_, i) => store.put(`k${i}`, bytesOf(1000 + i, i))));
      const all = await Promise.all(Array.from({ length: 24 }, (_, i) => store.get(`k${i}`)));
      for (const [i, bytes] of all.entries()) expect(bytes).toEqual(bytesOf(1000 + i, i));
    });

    it("holds one of two records put under one key at once, as a whole", async () => {
      const store = await session();
      await Promise.all([store.put("a", bytesOf(5000, 1)), store.put("a", bytesOf(7000, 2))]);
      const got = (await store.get("a"))!;
      expect([bytesOf(5000, 1), bytesOf(7000, 2)]).toContainEqual(got);
    });

    it("does not give back a record with a flipped byte, deletes it, and takes it anew", async () => {
      await (await session()).put("a", bytesOf(1000));
      await (await session()).put("b", bytesOf(1000));
      await kind.flip("a");
      const store = await session();
      expect(await store.get("a")).toBeUndefined();
      expect(await store.keys("")).toEqual(["b"]);
      expect(await store.get("b")).toEqual(bytesOf(1000));
      await store.put("a", bytesOf(1000));
      expect(await store.get("a")).toEqual(bytesOf(1000));
    });

    it("hashes a record on its first read in a session only, and again when it was put anew", async () => {
      await (await session()).put("a", bytesOf(1000, 1));
      const store = await session();
      const digest = vi.spyOn(crypto.subtle, "digest");
      try {
        for (let i = 0; i < 3; i++) await store.get("a");
        expect(digest).toHaveBeenCalledTimes(1);
        await store.put("a", bytesOf(1000, 2));
        await kind.flip("a");
        expect(await store.get("a")).toBeUndefined();
      } finally {
        digest.mockRestore();
      }
    });
  });
}
