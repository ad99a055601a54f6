import { assert } from "./assert.ts";

/** How one number is stored. */
export type Float = "f32" | "f16" | "bf16";

/**
 * How a matrix is stored. `plain`: each weight is one float. The other two store each weight as an
 * unsigned integer q of few bits, and every `group` consecutive inputs of a row share one scale.
 * `affine`, the format of MLX: w = scale * q + bias, where a group also shares a bias. `codebook`:
 * w = scale * table[q]. The integers of a row are one string of bits along the input dimension, in
 * u32 words, each integer lowest bit first: 32 of them fill as many words as they have bits, and
 * one may begin in one word and end in the next.
 */
export type Encoding = Plain | Affine | Codebook;

export interface Plain {
  readonly kind: "plain";
  readonly dtype: Float;
}

export const AFFINE_BITS = [2, 3, 4, 5, 6, 8] as const;
export const GROUPS = [16, 32, 64, 128] as const;

export interface Affine {
  readonly kind: "affine";
  readonly bits: (typeof AFFINE_BITS)[number];
  readonly group: (typeof GROUPS)[number];
  /** The float type of both scales and biases. */
  readonly scales: Float;
}

/** Each q has 4 bits. */
export interface Codebook {
  readonly kind: "codebook";
  /**
   * The values of q = 0, 1, ... fp4 (E2M1): 0, 0.5, 1, 1.5, 2, 3, 4, 6, then the same with a minus.
   * (Open Compute Project 2023, Microscaling Formats)
   */
  readonly table: "fp4";
  readonly group: (typeof GROUPS)[number];
  /** "e8m0": one byte s, which is the scale 2^(s - 127); 255 is infinite, as in MLX. */
  readonly scales: Float | "e8m0";
}

/** MXFP4, as MLX and gpt-oss publish it. */
export const MXFP4: Codebook = { kind: "codebook", table: "fp4", group: 32, scales: "e8m0" };

/**
 * A matrix [rows, columns] = [out, in] inside a buffer. `weight`, `scales` and `biases` are the
 * byte offsets at which its three ranges begin, counted from the buffer's beginning and multiples
 * of 16.
 */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly encoding: Encoding;
  /**
   * Row r lies at row first + r * stride of the ranges. So two matrices can share ranges in which
   * their rows alternate, as gate and up of gpt-oss do. As a rule stride is 1 and first is 0.
   */
  readonly stride: number;
  readonly first: number;
  readonly weight: number;
  /** Where the encoding has no scales, or no biases, these are 0 and mean nothing. */
  readonly scales: number;
  readonly biases: number;
  /** The byte offset at which the matrix ends, padding included. */
  readonly end: number;
}

/**
 * The parts of one expert in one record. The expert computes w2 act(w1 x + b1, w3 x + b3) + b2. w1,
 * w3 [F, D]; w2 [D, F].
 */
export interface ExpertLayout {
  readonly w1: Matrix;
  readonly w3: Matrix;
  readonly w2: Matrix;
  /** null: the expert has none. Each is a plain column: b1, b3 [F, 1], b2 [D, 1]. */
  readonly biases: { readonly b1: Matrix; readonly b3: Matrix; readonly b2: Matrix } | null;
  /** The record's length in bytes. */
  readonly bytes: number;
}

/** Every range of a record or dense module begins at a multiple of this. */
export const ALIGNMENT_BYTES = 16;

export const FLOAT_BYTES = { f32: 4, f16: 2, bf16: 2 } as const satisfies Record<Float, number>;

const SCALE_BYTES = { ...FLOAT_BYTES, e8m0: 1 } as const satisfies Record<Codebook["scales"], number>;

export const align = (bytes: number): number => Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;

/** The affine encoding of these numbers; undefined if there is none. */
export function affineOf(bits: number, group: number, scales: Float): Affine | undefined {
  const [b, g] = [AFFINE_BITS.find((each) => each === bits), GROUPS.find((each) => each === group)];
  return b && g && { kind: "affine", bits: b, group: g, scales };
}

/** Whether two encodings are the same, so that a matrix has the same bytes in both. */
export function sameEncoding(a: Encoding, b: Encoding): boolean {
  switch (a.kind) {
    case "plain":
      return b.kind === a.kind && b.dtype === a.dtype;
    case "affine":
      return b.kind === a.kind && b.bits === a.bits && b.group === a.group && b.scales === a.scales;
    case "codebook":
      return b.kind === a.kind && b.table === a.table && b.group === a.group && b.scales === a.scales;
    default:
      return a satisfies never;
  }
}

/** An encoding in words for the user: "bf16", "4-bit, groups of 64" or "fp4, groups of 32". */
export function describeEncoding(encoding: Encoding): string {
  switch (encoding.kind) {
    case "plain":
      return encoding.dtype;
    case "affine":
      return `${encoding.bits}-bit, groups of ${encoding.group}`;
    case "codebook":
      return `${encoding.table}, groups of ${encoding.group}`;
    default:
      return encoding satisfies never;
  }
}

/** The bits of a weight, without scales and biases. */
export function weightBits(encoding: Encoding): number {
  switch (encoding.kind) {
    case "plain":
      return 8 * FLOAT_BYTES[encoding.dtype];
    case "affine":
      return encoding.bits;
    case "codebook":
      return 4;
    default:
      return encoding satisfies never;
  }
}

/** Bytes of each range of a matrix [rows, columns], unpadded. */
export function rangeBytes(rows: number, columns: number, encoding: Encoding) {
  const weight = (rows * columns * weightBits(encoding)) / 8;
  if (encoding.kind === "plain") return { weight, scales: 0, biases: 0 };
  const { group, scales } = encoding;
  assert(columns % group === 0, `${columns} columns are whole groups of ${group}`);
  assert((columns * weightBits(encoding)) % 32 === 0, `a row of ${columns} columns is whole words`);
  const perGroup = ((rows * columns) / group) * SCALE_BYTES[scales];
  return { weight, scales: perGroup, biases: encoding.kind === "affine" ? perGroup : 0 };
}

/** Lays a matrix out from byte `begin`, a multiple of 16: weight, then scales, then biases. */
export function layMatrix(rows: number, columns: number, encoding: Encoding, begin = 0): Matrix {
  const bytes = rangeBytes(rows, columns, encoding);
  const scales = align(begin + bytes.weight);
  const biases = align(scales + bytes.scales);
  const end = align(biases + bytes.biases);
  const at = { scales: bytes.scales && scales, biases: bytes.biases && biases };
  return { rows, columns, encoding, stride: 1, first: 0, weight: begin, ...at, end };
}

/**
 * Lays two matrices [rows, columns] out, one after the other, or with rows that alternate in ranges
 * that they share.
 */
function layPair(
  [rows, columns]: readonly [number, number],
  [a, b]: readonly [Encoding, Encoding],
  alternate: boolean,
  begin: number,
): [Matrix, Matrix] {
  if (!alternate) {
    const upper = layMatrix(rows, columns, a, begin);
    return [upper, layMatrix(rows, columns, b, upper.end)];
  }
  assert(sameEncoding(a, b), "matrices whose rows alternate are stored alike");
  const both = { ...layMatrix(2 * rows, columns, a, begin), rows, stride: 2 };
  return [both, { ...both, first: 1 }];
}

/** What not every expert has. */
export interface ExpertExtras {
  /** Rows of w1 and w3 alternate in ranges that they share. */
  readonly alternate?: boolean;
  readonly biases?: ExpertBiases | null;
}

/** How the biases of an expert are stored. */
export interface ExpertBiases {
  readonly b1: Plain;
  readonly b3: Plain;
  readonly b2: Plain;
  /** Numbers of b1 and b3 alternate. */
  readonly alternate: boolean;
}

/** Lays the parts of an expert out one after the other: w1, w3, w2, then b1, b3, b2. */
export function layExpert(
  width: number,
  hidden: number,
  w1: Encoding,
  w3: Encoding,
  w2: Encoding,
  { alternate = false, biases = null }: ExpertExtras = {},
): ExpertLayout {
  const [first, third] = layPair([hidden, width], [w1, w3], alternate, 0);
  const second = layMatrix(width, hidden, w2, third.end);
  const matrices = { w1: first, w3: third, w2: second };
  if (!biases) return { ...matrices, biases: null, bytes: second.end };
  const [b1, b3] = layPair([hidden, 1], [biases.b1, biases.b3], biases.alternate, second.end);
  const b2 = layMatrix(width, 1, biases.b2, b3.end);
  return { ...matrices, biases: { b1, b3, b2 }, bytes: b2.end };
}

/**
 * The layout of a vector [columns] in f32. Norm weights and the like are widened to f32 when they
 * are downloaded.
 */
export const layVector = (columns: number): Matrix => layMatrix(1, columns, { kind: "plain", dtype: "f32" });

/** The ranges of a matrix that hold data, without the padding. */
export function dataRanges({ rows, columns, stride, encoding, weight, scales, biases }: Matrix) {
  const bytes = rangeBytes(rows * stride, columns, encoding);
  return [
    { begin: weight, end: weight + bytes.weight },
    { begin: scales, end: scales + bytes.scales },
    { begin: biases, end: biases + bytes.biases },
  ].filter(({ begin, end }) => begin < end);
}
