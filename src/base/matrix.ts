import { assert } from "./assert.ts";

/** How one number is stored. */
export type Float = "f32" | "f16" | "bf16";

/**
 * How a matrix is stored. `plain`: each weight is one float. `affine`, the format of MLX: each
 * weight is an unsigned integer q of `bits` bits, and w = scale * q + bias. The integers are packed
 * into u32 words along the input dimension, the first in the lowest bits. Every `group` consecutive
 * inputs of a row share one scale and one bias.
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
  /** The float type of both scales and biases. */
  readonly scales: Float;
}

/**
 * A matrix [rows, columns] = [out, in] inside a buffer. `weight`, `scales` and `biases` are the
 * byte offsets at which its three ranges begin, counted from the buffer's beginning and multiples
 * of 16.
 */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly encoding: Encoding;
  readonly weight: number;
  /** `scales` and `biases` are 0 and mean nothing if the encoding is plain. */
  readonly scales: number;
  readonly biases: number;
  /** The byte offset at which the matrix ends, padding included. */
  readonly end: number;
}

/**
 * The three matrices of one expert in one record. The expert computes w2(act(w1 x) * w3 x). w1, w3
 * [F, D]; w2 [D, F].
 */
export interface ExpertLayout {
  readonly w1: Matrix;
  readonly w3: Matrix;
  readonly w2: Matrix;
  /** The record's length in bytes. */
  readonly bytes: number;
}

/** Every range of a record or dense module begins at a multiple of this. */
export const ALIGNMENT_BYTES = 16;

export const FLOAT_BYTES = { f32: 4, f16: 2, bf16: 2 } as const satisfies Record<Float, number>;

export const align = (bytes: number): number => Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;

/** Whether two encodings are the same, so that a matrix has the same bytes in both. */
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

/** An encoding in words for the user: "bf16", or "4-bit, groups of 64". */
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

/** Lays a matrix out from byte `begin`, a multiple of 16: weight, then scales, then biases. */
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

/**
 * The layout of a vector [columns] in f32. Norm weights and the like are widened to f32 when they
 * are downloaded.
 */
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
