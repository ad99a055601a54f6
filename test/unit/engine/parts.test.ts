import { describe, expect, test } from "vitest";
import { type Encoding, type Float, layMatrix, type Matrix } from "../../../src/base/matrix.ts";
import { joined, matrixParts } from "../../../src/engine/parts.ts";
import type { MatrixSource } from "../../../src/format/checkpoint.ts";
import { encodeFloats } from "../../../src/format/floats.ts";
import { decodeMatrix } from "../../../src/format/mlx_affine.ts";
import { quantizeRows } from "../../../src/format/quantize.ts";

const Q8: Encoding = { kind: "affine", bits: 8, group: 32, scales: "f32" };

/** Exact in every float type. */
const numbers = (count: number) => Float32Array.from({ length: count }, (_, i) => ((i * 37) % 251) - 125);

/** What `target` becomes of a published tensor, of which pieces of this length arrive. */
function arrived(source: MatrixSource, target: Matrix, published: Uint8Array<ArrayBuffer>, pieceBytes: number) {
  const record = new Uint8Array(target.end);
  const parts = matrixParts(source, target, (offset, bytes) => record.set(bytes, offset));
  expect(parts).toHaveLength(1);
  for (let at = 0; at < published.length; at += pieceBytes) parts[0]!.accept(published.slice(at, at + pieceBytes));
  return record;
}

/** A source of plain floats whose range is `values`, as they are published. */
function published(
  [rows, columns]: readonly [number, number],
  dtype: Float,
  values: Float32Array<ArrayBuffer>,
  order: Pick<MatrixSource, "everySecond" | "transposed">,
) {
  const bytes = encodeFloats(dtype, values);
  const weight = { file: "f", begin: 0, end: bytes.length };
  const source: MatrixSource = { rows, columns, encoding: { kind: "plain", dtype }, weight, ...order };
  return { source, bytes };
}

/** Row r of the matrix is made of these elements of what is published. */
const picked = (rows: number, columns: number, values: Float32Array, at: (row: number, column: number) => number) =>
  Float32Array.from({ length: rows * columns }, (_, i) => values[at(Math.floor(i / columns), i % columns)]!);

describe("a matrix [5, 64] whose rows are every second column of what is published", () => {
  const [rows, columns] = [5, 64];
  const values = numbers(2 * rows * columns);
  const own = (everySecond: number) => picked(rows, columns, values, (row, c) => c * 2 * rows + everySecond + 2 * row);

  for (const everySecond of [0, 1] as const)
    for (const dtype of ["f32", "bf16", "f16"] as const) {
      const { source, bytes } = published([rows, columns], dtype, values, { everySecond, transposed: true });

      test(`${everySecond}, ${dtype}: is kept in its type`, () => {
        const target = layMatrix(rows, columns, { kind: "plain", dtype });
        expect(decodeMatrix(target, arrived(source, target, bytes, 7))).toEqual(own(everySecond));
      });

      test(`${everySecond}, ${dtype}: is quantised`, () => {
        const target = layMatrix(rows, columns, Q8);
        const record = arrived(source, target, bytes, 101);
        const words = quantizeRows(own(everySecond), columns, Q8 as Encoding & { kind: "affine" });
        expect(record.subarray(target.weight, target.weight + words.weight.length)).toEqual(words.weight);
        expect(record.subarray(target.biases, target.biases + words.biases.length)).toEqual(words.biases);
      });
    }

  test("without every second, all columns are rows", () => {
    const { source, bytes } = published([2 * rows, columns], "f32", values, { transposed: true });
    const target = layMatrix(2 * rows, columns, { kind: "plain", dtype: "f32" });
    const all = picked(2 * rows, columns, values, (row, column) => column * 2 * rows + row);
    expect(decodeMatrix(target, arrived(source, target, bytes, 64))).toEqual(all);
  });
});

test.each([0, 1] as const)(
  "every second row, from %i, quantised though blocks hold odd numbers of rows",
  (everySecond) => {
    const [rows, columns] = [5, 20480]; // three of the ten rows fit a block
    const values = numbers(2 * rows * columns);
    const { source, bytes } = published([rows, columns], "f32", values, { everySecond });
    const target = layMatrix(rows, columns, Q8);
    const record = arrived(source, target, bytes, 100_000);
    const own = picked(rows, columns, values, (row, column) => (everySecond + 2 * row) * columns + column);
    const words = quantizeRows(own, columns, Q8 as Encoding & { kind: "affine" });
    for (const part of ["weight", "scales", "biases"] as const) {
      const stored = record.subarray(target[part], target[part] + words[part].length);
      expect(Buffer.compare(stored, words[part]), part).toBe(0);
    }
  },
);

test("parts of one range are read once, and each gets the bytes", () => {
  const taken: string[] = [];
  const part = (name: string, begin: number) => ({
    range: { file: "f", begin, end: 10 },
    accept: (bytes: Uint8Array) => taken.push(`${name} ${bytes.length}`),
  });
  const parts = joined([part("a", 0), part("b", 5), part("c", 0)]);
  expect(parts.map(({ range }) => range.begin)).toEqual([0, 5]);
  for (const { accept } of parts) accept(new Uint8Array(3));
  expect(taken).toEqual(["a 3", "c 3", "b 3"]);
});
