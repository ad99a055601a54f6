import fc from "fast-check";
import { expect, test } from "vitest";
import { sha256 } from "../../../src/base/hash.ts";
import { type Kept, keptBlob, RecordReader } from "../../../src/store/reader.ts";
import { blobSlices, type Slices } from "../../../src/store/slices.ts";

/** Seeds are fixed: a failure is the same on every machine. */
const RUNS = { seed: 20261124, numRuns: 200 };

const SLICE = 64;

/** Sizes of up to five slices, often at their ends. */
const size = fc
  .tuple(fc.integer({ min: 0, max: 4 }), fc.oneof(fc.constantFrom(-1, 0, 1), fc.integer({ min: -SLICE, max: SLICE })))
  .map(([slices, more]) => Math.max(0, slices * SLICE + more));

function bytesOf(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + 7) & 255);
}

/** Slices of `bytes`, unreadable from byte `broken` on; `onRead` is told when a slice is asked for. */
function fakeSlices(bytes: Uint8Array<ArrayBuffer>, broken: number, onRead = () => {}): Slices {
  let at = 0;
  return {
    async next(length) {
      onRead();
      await Promise.resolve();
      if (at + length > broken) throw new DOMException("gone", "NotReadableError");
      at += length;
      return bytes.slice(at - length, at);
    },
    close() {},
  };
}

/** One record under "a", read through a reader; `broken` and `removed` as the test goes on. */
async function fakeRecord(bytes: Uint8Array<ArrayBuffer>) {
  const state = { broken: Number.POSITIVE_INFINITY, removed: 0, found: 0, reads: 0, open: 0 };
  const record: Kept = {
    bytes: bytes.length,
    sha256: await sha256(bytes),
    open: () => {
      state.open++;
      return { ...fakeSlices(bytes, state.broken, () => state.reads++), close: () => void state.open-- };
    },
  };
  const shelves = {
    async find() {
      state.found++;
      return state.removed === 0 ? record : undefined;
    },
    async remove() {
      state.removed++;
    },
  };
  const reader = new RecordReader(shelves, SLICE);
  return { state, reader, record };
}

/** Reads "a"; what was accepted, and how far. */
async function readAll(reader: RecordReader, length: number, signal?: AbortSignal) {
  const got = new Uint8Array(length);
  let end = 0;
  const result = await reader.read(
    "a",
    (offset, bytes) => {
      expect(offset).toBe(end);
      end += bytes.length;
      got.set(bytes, offset);
    },
    signal,
  );
  return { got, end, result };
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

test("a record of any size comes whole and in order, first and later, and is found once", async () => {
  const property = fc.asyncProperty(size, async (length) => {
    const bytes = bytesOf(length);
    const { reader, state } = await fakeRecord(bytes);
    for (let i = 0; i < 3; i++) {
      const { got, end, result } = await readAll(reader, length);
      expect([end, result]).toEqual([length, length]);
      expect(same(got, bytes)).toBe(true);
    }
    expect([state.found, state.open]).toEqual([1, 0]);
  });
  await fc.assert(property, RUNS);
});

test("while a slice is accepted the next one is on its way, and no other", async () => {
  const property = fc.asyncProperty(size, async (length) => {
    const { reader, state } = await fakeRecord(bytesOf(length));
    await readAll(reader, length);
    state.reads = 0;
    const count = Math.ceil(length / SLICE);
    let accepted = 0;
    await reader.read("a", () => {
      expect(state.reads).toBe(Math.min(accepted++ + 2, count));
    });
    expect(accepted).toBe(count);
  });
  await fc.assert(property, RUNS);
});

test("a damaged byte, or a truncated record, gives nothing to the taker; it is deleted", async () => {
  const property = fc.asyncProperty(
    size.filter((length) => length > 0),
    fc.nat(),
    fc.boolean(),
    async (length, place, truncate) => {
      const bytes = bytesOf(length);
      const { reader, state } = await fakeRecord(bytes);
      if (truncate) state.broken = place % length;
      else bytes[place % length]! ^= 1 << (place % 8);
      const { end, result } = await readAll(reader, length);
      expect([end, result, state.removed, state.open]).toEqual([0, undefined, 1, 0]);
    },
  );
  await fc.assert(property, RUNS);
});

test("a record that breaks after it was verified gives a prefix of itself at most, and is deleted", async () => {
  const property = fc.asyncProperty(
    size.filter((length) => length > 0),
    fc.nat(),
    async (length, place) => {
      const bytes = bytesOf(length);
      const { reader, state } = await fakeRecord(bytes);
      await readAll(reader, length);
      state.broken = place % length;
      const { got, end, result } = await readAll(reader, length);
      const whole = Math.floor(state.broken / SLICE) * SLICE;
      expect([end, result, state.removed, state.open]).toEqual([whole, undefined, 1, 0]);
      expect(same(got.subarray(0, end), bytes.subarray(0, end))).toBe(true);
      expect((await readAll(reader, length)).result).toBeUndefined();
    },
  );
  await fc.assert(property, RUNS);
});

test("an abort between slices rejects with its reason, whichever slice it is, and deletes nothing", async () => {
  const property = fc.asyncProperty(
    size.filter((length) => length > 0),
    fc.nat(),
    async (length, place) => {
      const { reader, state } = await fakeRecord(bytesOf(length));
      await readAll(reader, length);
      const count = Math.ceil(length / SLICE);
      const last = place % count;
      const stop = new AbortController();
      let slices = 0;
      const reading = reader.read(
        "a",
        () => {
          if (slices++ === last) stop.abort("enough");
        },
        stop.signal,
      );
      if (last < count - 1) await expect(reading).rejects.toBe("enough");
      else expect(await reading).toBe(length);
      expect([slices, state.removed]).toEqual([last + 1, 0]);
      expect((await readAll(reader, length)).result).toBe(length);
    },
  );
  await fc.assert(property, RUNS);
});

test("a record that was put anew while it was verified is verified again, and not deleted for what its predecessor was", async () => {
  const { reader, state, record } = await fakeRecord(bytesOf(1000));
  const reading = readAll(reader, 1000);
  reader.forget("a");
  expect((await reading).result).toBe(1000);
  await readAll(reader, 1000);
  expect(state.found).toBe(2);

  reader.forget("a");
  const damaged = { ...record, sha256: "00" };
  const shelves = { find: async () => damaged, remove: async () => void state.removed++ };
  const other = new RecordReader(shelves, SLICE);
  const second = readAll(other, 1000);
  other.forget("a");
  expect((await second).result).toBeUndefined();
  expect(state.removed).toBe(0);
  expect((await readAll(other, 1000)).result).toBeUndefined();
  expect(state.removed).toBe(1);
});

test("a place that no longer holds, with the record as good as ever at another, costs one more look", async () => {
  const bytes = bytesOf(SLICE + 5);
  const { reader, state, record } = await fakeRecord(bytes);
  await readAll(reader, bytes.length);
  const { open } = record;
  let opened = 0;
  Object.assign(record, { open: () => (opened++ === 0 ? fakeSlices(bytes, 0) : open()) });
  const { got, result } = await readAll(reader, bytes.length);
  expect([result, state.found, state.removed]).toEqual([bytes.length, 2, 0]);
  expect(same(got, bytes)).toBe(true);
});

test.each([true, false])("a Blob gives its slices, and no more than it has; streams of bytes: %s", async (streams) => {
  const bytes = bytesOf(300_001);
  const blob = new Blob([bytes]);
  // As in browsers whose Blobs give streams of chunks.
  if (!streams) blob.stream = () => new ReadableStream<Uint8Array<ArrayBuffer>>();
  const slices = blobSlices(blob);
  expect(same(await slices.next(100_000), bytes.subarray(0, 100_000))).toBe(true);
  expect(same(await slices.next(200_000), bytes.subarray(100_000, 300_000))).toBe(true);
  await expect(slices.next(2)).rejects.toThrow("too soon");
  slices.close();
  expect(() => keptBlob(blob, 300_000, "")).toThrow("another length");
});
