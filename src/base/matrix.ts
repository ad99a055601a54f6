import { assert } from "./assert.ts";

/** How one number is stored. */
export type Float = "f32" | "f16" | "bf16";

/**
 * How a matrix is stored. `plain`: one float each. `affine`, as MLX writes it: u32 words of
 * `bits`-bit unsigned integers q, lowest first, along the input dimension; one scale and one bias
 * per `group` of inputs; w = scale * q + bias.
 */
export type Encoding = Plain | Affine;

export interface Plain {
  readonly kind: "plain";
  readonly dtype: Float;
}

export interface Affine {
  readonly kind: "affine";
  readonly bits: 4 | 8;
  readonly group: 32 | 64 | 128;
  /** Of scales and biases. */
  readonly scales: Float;
}

/**
 * A matrix [rows, columns] = [out, in] inside a buffer. Offsets are in bytes from its beginning,
 * multiples of 16.
 */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly encoding: Encoding;
  readonly weight: number;
  /** Meaningless (0) where the encoding is plain, as is `biases`. */
  readonly scales: number;
  readonly biases: number;
  /** Where the matrix ends, padding included. */
  readonly end: number;
}

/**
 * The three matrices of one expert, in one record: w2(act(w1 x) * w3 x). w1, w3 [F, D]; w2 [D, F].
 */
export interface ExpertLayout {
  readonly w1: Matrix;
  readonly w3: Matrix;
  readonly w2: Matrix;
  /** Length of the record. */
  readonly bytes: number;
}

/** Every range of a record or dense module begins at a multiple of this. */
export const ALIGNMENT_BYTES = 16;

export const FLOAT_BYTES = { f32: 4, f16: 2, bf16: 2 } as const satisfies Record<Float, number>;

export const align = (bytes: number): number => Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;

/** Whether matrices in these encodings of the same size have the same bytes. */
export function sameEncoding(a: Encoding, b: Encoding): boolean {
  switch (a.kind) {
    case "plain":
      return b.kind === a.kind && b.dtype === a.dtype;
    case "affine":
      return b.kind === a.kind && b.bits === a.bits && b.group === a.group && b.scales === a.scales;
    default:
      return a satisfies never;
  }
}

/** For people: "bf16", "4-bit, groups of 64". */
export function describeEncoding(encoding: Encoding): string {
  switch (encoding.kind) {
    case "plain":
      return encoding.dtype;
    case "affine":
      return `${encoding.bits}-bit, groups of ${encoding.group}`;
    default:
      return encoding satisfies never;
  }
}

/** Bytes of each range of a matrix [rows, columns], unpadded. */
export function rangeBytes(rows: number, columns: number, encoding: Encoding) {
  switch (encoding.kind) {
    case "plain":
      return { weight: rows * columns * FLOAT_BYTES[encoding.dtype], scales: 0, biases: 0 };
    case "affine": {
      const { bits, group, scales } = encoding;
      assert(columns % group === 0, `${columns} columns are whole groups of ${group}`);
      const perGroup = ((rows * columns) / group) * FLOAT_BYTES[scales];
      return { weight: (rows * columns * bits) / 8, scales: perGroup, biases: perGroup };
    }
    default:
      return encoding satisfies never;
  }
}

/** Lays a matrix out from byte `begin` (aligned): weight, then scales, then biases. */
export function layMatrix(rows: number, columns: number, encoding: Encoding, begin = 0): Matrix {
  const bytes = rangeBytes(rows, columns, encoding);
  const scales = align(begin + bytes.weight);
  const biases = align(scales + bytes.scales);
  const end = align(biases + bytes.biases);
  const at = { scales: bytes.scales && scales, biases: bytes.biases && biases };
  return { rows, columns, encoding, weight: begin, ...at, end };
}

/** Lays the three matrices of an expert out one after the other: w1, w3, w2. */
export function layExpert(width: number, hidden: number, w1: Encoding, w3: Encoding, w2: Encoding): ExpertLayout {
  const first = layMatrix(hidden, width, w1);
  const third = layMatrix(hidden, width, w3, first.end);
  const second = layMatrix(width, hidden, w2, third.end);
  return { w1: first, w3: third, w2: second, bytes: second.end };
}

/** A vector [columns] in f32: norms and the like, widened on arrival. */
export const layVector = (columns: number): Matrix => layMatrix(1, columns, { kind: "plain", dtype: "f32" });

/** The ranges of a matrix that hold data, without the padding. */
export function dataRanges({ rows, columns, encoding, weight, scales, biases }: Matrix) {
  const bytes = rangeBytes(rows, columns, encoding);
  return [
    { begin: weight, end: weight + bytes.weight },
    { begin: scales, end: scales + bytes.scales },
    { begin: biases, end: biases + bytes.biases },
  ].filter(({ begin, end }) => begin < end);
}
