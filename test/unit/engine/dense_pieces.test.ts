import { expect, test } from "vitest";
import { layMatrix } from "../../../src/base/matrix.ts";
import { Connections } from "../../../src/engine/connections.ts";
import { type DenseModule, loadDense, PIECE_BYTES } from "../../../src/engine/dense.ts";
import type { Speaker } from "../../../src/ops/ops.ts";
import { givenFiles } from "../../../src/source/given_files.ts";
import type { Source } from "../../../src/source/source.ts";
import { memoryStore } from "../../../src/store/memory.ts";

const FILE = "model.safetensors";
/** One row of bytes more than a piece. */
const [ROWS, COLUMNS] = [PIECE_BYTES / 4096 + 1, 1024];
const BEGIN = 12;
/** What arrives at a time divides no piece. */
const ARRIVING = 5_000_000;

test("a matrix longer than a piece comes whole, from the source and on the next visit from the store", async () => {
  const bytes = ROWS * COLUMNS * 4;
  const file = new Uint8Array(BEGIN + bytes);
  const words = new DataView(file.buffer, BEGIN);
  for (let at = 0; at < bytes; at += 4096) words.setUint32(at, at);
  const encoding = { kind: "plain", dtype: "f32" } as const;
  const weight = { file: FILE, begin: BEGIN, end: BEGIN + bytes };
  const module: DenseModule = {
    key: "m",
    role: "linear",
    source: { rows: ROWS, columns: COLUMNS, encoding, weight },
    matrix: layMatrix(ROWS, COLUMNS, encoding),
  };
  const source: Source = {
    ...givenFiles({}),
    async *read(_, begin, end) {
      for (let at = begin; at < end; at += ARRIVING) yield file.slice(at, Math.min(at + ARRIVING, end));
    },
  };
  const store = memoryStore();
  for (const from of ["network", "store"] as const) {
    const made = new Uint8Array(bytes);
    const written = (_: unknown, offset: number, piece: Uint8Array) => made.set(piece, offset);
    const speaker = { weight: () => ({}), write: written } as unknown as Speaker;
    const seen = new Set<string>();
    await loadDense([module], {
      speaker,
      store,
      prefix: "p/",
      reading: { source, connections: new Connections(), purpose: { inDemand: true } },
      onLoaded: (_, origin) => seen.add(origin),
      onUnkept: () => {},
    });
    expect(Buffer.compare(made, file.subarray(BEGIN))).toBe(0);
    expect([...seen]).toEqual([from]);
  }
  expect([...(await store.sizes("")).values()]).toEqual([PIECE_BYTES, 4096]);
});
