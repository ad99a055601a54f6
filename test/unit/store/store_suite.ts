import { afterEach, describe, expect, it, vi } from "vitest";
import { release } from "../../../src/base/release.ts";
import { SLICE_BYTES } from "../../../src/store/slices.ts";
import { readWhole, type Store } from "../../../src/store/store.ts";

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
      expect(await readWhole(store, "no")).toBeUndefined();
      expect(await store.keys("")).toEqual([]);
      await store.delete("no");
    });

    it.each([0, 1, 1000, 300_001])("gives %i bytes back, in this session and in the next", async (length) => {
      const bytes = bytesOf(length);
      const store = await session();
      await store.put("a", bytes);
      expectSame(await readWhole(store, "a"), bytes);
      expectSame(await readWhole(await session(), "a"), bytes);
    });

    it("stores what a view shows, not what lies around it", async () => {
      const store = await session();
      await store.put("a", bytesOf(100).subarray(10, 20));
      expect(await readWhole(store, "a")).toEqual(bytesOf(100).slice(10, 20));
    });

    it("keeps its own copy: neither the bytes put nor the bytes got are the record", async () => {
      const store = await session();
      const bytes = bytesOf(50);
      await store.put("a", bytes);
      bytes.fill(0);
      const got = await readWhole(store, "a");
      expect(got).toEqual(bytesOf(50));
      got!.fill(0);
      expect(await readWhole(store, "a")).toEqual(bytesOf(50));
    });

    it("replaces a record that is put again", async () => {
      const store = await session();
      await store.put("a", bytesOf(10, 1));
      expect(await readWhole(store, "a")).toEqual(bytesOf(10, 1));
      await store.put("a", bytesOf(20, 2));
      expect(await readWhole(store, "a")).toEqual(bytesOf(20, 2));
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

    it("tells the lengths of the records that begin with a prefix", async () => {
      const store = await session();
      const lengths = { "m@1/b": 300_001, "m@1/a": 0, "m@10/a": 7, n: 1 };
      for (const [key, length] of Object.entries(lengths)) await store.put(key, bytesOf(length));
      expect([...(await store.sizes("m@1/"))]).toEqual([
        ["m@1/a", 0],
        ["m@1/b", 300_001],
      ]);
      expect(Object.fromEntries(await store.sizes(""))).toEqual(lengths);
      expect(await store.sizes("y")).toEqual(new Map());
    });

    it("deletes the keys that begin with a prefix, and no others", async () => {
      const store = await session();
      for (const key of ["m@1/a", "m@1/b", "m@10/a", "n"]) await store.put(key, bytesOf(3));
      await store.delete("m@1/");
      expect(await store.keys("")).toEqual(["m@10/a", "n"]);
      expect(await readWhole(store, "m@1/a")).toBeUndefined();
      expect(await readWhole(store, "n")).toEqual(bytesOf(3));
      await store.delete("");
      expect(await store.keys("")).toEqual([]);
    });

    it("takes many puts at once", async () => {
      const store = await session();
      await Promise.all(Array.from({ length: 24 }, (_, i) => store.put(`k${i}`, bytesOf(1000 + i, i))));
      const all = await Promise.all(Array.from({ length: 24 }, (_, i) => readWhole(store, `k${i}`)));
      for (const [i, bytes] of all.entries()) expect(bytes).toEqual(bytesOf(1000 + i, i));
    });

    it("holds one of two records put under one key at once, as a whole", async () => {
      const store = await session();
      await Promise.all([store.put("a", bytesOf(5000, 1)), store.put("a", bytesOf(7000, 2))]);
      const got = (await readWhole(store, "a"))!;
      expect([bytesOf(5000, 1), bytesOf(7000, 2)]).toContainEqual(got);
    });

    it("does not give back a record with a flipped byte, deletes it, and takes it anew", async () => {
      await (await session()).put("a", bytesOf(1000));
      await (await session()).put("b", bytesOf(1000));
      await kind.flip("a");
      const store = await session();
      expect(await readWhole(store, "a")).toBeUndefined();
      expect(await store.keys("")).toEqual(["b"]);
      expect(await readWhole(store, "b")).toEqual(bytesOf(1000));
      await store.put("a", bytesOf(1000));
      expect(await readWhole(store, "a")).toEqual(bytesOf(1000));
    });

    it("hashes a record on its first read in a session only, and again when it was put anew", async () => {
      await (await session()).put("a", bytesOf(1000, 1));
      const store = await session();
      const digest = vi.spyOn(crypto.subtle, "digest");
      try {
        for (let i = 0; i < 3; i++) await readWhole(store, "a");
        expect(digest).toHaveBeenCalledTimes(1);
        await store.put("a", bytesOf(1000, 2));
        await kind.flip("a");
        expect(await readWhole(store, "a")).toBeUndefined();
      } finally {
        digest.mockRestore();
      }
    });

    it.each([SLICE_BYTES - 1, SLICE_BYTES, 2 * SLICE_BYTES + 17])(
      "gives %i bytes at once when they are verified, and in ascending slices after that",
      async (length) => {
        const bytes = bytesOf(length);
        const store = await session();
        await store.put("a", bytes);
        const sizes: number[][] = [];
        for (let i = 0; i < 2; i++) {
          const got = new Uint8Array(length);
          const slices: number[] = [];
          let end = 0;
          const read = await store.read("a", (offset, slice) => {
            expect(offset).toBe(end);
            end += slice.length;
            slices.push(slice.length);
            got.set(slice, offset);
          });
          expect(read).toBe(length);
          expectSame(got, bytes);
          sizes.push(slices);
        }
        const full = Array<number>(Math.floor(length / SLICE_BYTES)).fill(SLICE_BYTES);
        expect(sizes).toEqual([[length], length % SLICE_BYTES ? [...full, length % SLICE_BYTES] : full]);
        expectSame(await readWhole(store, "a"), bytes);
      },
    );

    it("gives bytes that the taker may release", async () => {
      const store = await session();
      await store.put("a", bytesOf(1000));
      for (let i = 0; i < 3; i++) expect(await store.read("a", (_, bytes) => release(bytes))).toBe(1000);
      expect(await readWhole(store, "a")).toEqual(bytesOf(1000));
    });

    it("rejects with the reason of an abort, before a read and between slices, and with what the taker throws; the record stays", async () => {
      const store = await session();
      await store.put("a", bytesOf(2 * SLICE_BYTES + 1));
      const reason = new Error("enough");
      const aborted = AbortSignal.abort(reason);
      await expect(store.read("a", () => expect.unreachable(), aborted)).rejects.toBe(reason);
      await store.read("a", () => {});
      const stop = new AbortController();
      let slices = 0;
      const taker = () => {
        slices++;
        stop.abort(reason);
      };
      await expect(store.read("a", taker, stop.signal)).rejects.toBe(reason);
      expect(slices).toBe(1);
      const refuse = () => {
        throw reason;
      };
      await expect(store.read("a", refuse)).rejects.toBe(reason);
      await expect(readWhole(await session(), "a").then((bytes) => bytes?.length)).resolves.toBe(2 * SLICE_BYTES + 1);
    });

    it("takes any string for a key, and tells all of them apart", async () => {
      const keys = [
        "",
        "a",
        "A",
        ".",
        "..",
        "a/b",
        "a\\b",
        "/",
        "%",
        "%0041",
        "ä",
        "a\u0308",
        "con",
        "a ",
        "a.",
        "+",
        "\ud800",
        "\0",
      ];
      keys.push(
        ...[199, 200, 201, 400, 1000].map((length) => "k".repeat(length)),
        `https://x.test/${"ÄB/?*:".repeat(99)}`,
      );
      const store = await session();
      for (const [i, key] of keys.entries()) await store.put(key, bytesOf(20, i));
      expect(await store.keys("")).toEqual([...keys].sort());
      for (const [i, key] of keys.entries()) expect(await readWhole(store, key)).toEqual(bytesOf(20, i));
      await store.delete("k".repeat(200));
      expect(await store.keys("k")).toEqual(["k".repeat(199)]);
    });

    it("reads what another session has put over a record that was read", async () => {
      const [store, other] = [await session(), await session()];
      await store.put("a", bytesOf(100, 1));
      await readWhole(store, "a");
      await other.put("a", bytesOf(120, 2));
      expect([bytesOf(100, 1), bytesOf(120, 2)]).toContainEqual(await readWhole(store, "a"));
      expect(await readWhole(other, "a")).toEqual(bytesOf(120, 2));
      expect(await readWhole(await session(), "a")).toEqual(bytesOf(120, 2));
    });
  });
}
