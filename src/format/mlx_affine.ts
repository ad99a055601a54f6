import { assert } from "../base/assert.ts";
import { type Affine, type Codebook, type Matrix, rangeBytes, weightBits } from "../base/matrix.ts";
import { decodeFloats } from "./floats.ts";

/** The values of each table of a codebook. */
const TABLES = {
  fp4: [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6],
} as const satisfies Record<Codebook["table"], readonly number[]>;

/**
 * Decodes a matrix to f32, row-major [rows, columns]. Plain floats are widened exactly. The others
 * are decoded as MLX defines them: w = scale * q + bias, or scale * table[q], rounded once.
 * `bytes`: the buffer from whose beginning the matrix's offsets count; it may begin at any
 * address.
 * @see https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html
 */
export function decodeMatrix(matrix: Matrix, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const { encoding } = matrix;
  const range = (part: "weight" | "scales" | "biases") => rowsOf(matrix, part, bytes);
  switch (encoding.kind) {
    case "plain":
      return decodeFloats(encoding.dtype, range("weight"));
    case "affine": {
      const scales = decodeFloats(encoding.scales, range("scales"));
      const biases = decodeFloats(encoding.scales, range("biases"));
      const counting = Array.from({ length: 2 ** encoding.bits }, (_, q) => q);
      return decodeGroups(encoding, range("weight"), counting, scales, biases);
    }
    case "codebook": {
      const scales = decodeScales(encoding.scales, range("scales"));
      // A sum with -0 changes no number, not even the sign of a zero.
      const biases = new Float32Array(scales.length).fill(-0);
      return decodeGroups(encoding, range("weight"), TABLES[encoding.table], scales, biases);
    }
    default:
      return encoding satisfies never;
  }
}

/** The matrix's own rows of a range, one after the other. */
function rowsOf(matrix: Matrix, part: "weight" | "scales" | "biases", bytes: Uint8Array): Uint8Array {
  const { rows, columns, encoding, stride, first } = matrix;
  const sizes = rangeBytes(rows * stride, columns, encoding);
  assert(bytes.length >= matrix[part] + sizes[part], "the matrix lies within its buffer");
  const range = bytes.subarray(matrix[part], matrix[part] + sizes[part]);
  if (stride === 1) return range;
  const rowBytes = range.length / (rows * stride);
  const own = new Uint8Array(rows * rowBytes);
  for (let row = 0; row < rows; row++) {
    const at = (first + row * stride) * rowBytes;
    own.set(range.subarray(at, at + rowBytes), row * rowBytes);
  }
  return own;
}

/**
 * Decodes groups one after the other: w = scale * table[q] + bias. A row is a whole number of groups,
 * and a group begins at a whole byte, so rows do not matter here. It computes in doubles, in which
 * the product is exact; so is the sum if scales and biases are f16.
 */
function decodeGroups(
  encoding: Affine | Codebook,
  packed: Uint8Array,
  table: readonly number[],
  scales: Float32Array,
  biases: Float32Array,
): Float32Array<ArrayBuffer> {
  const { group } = encoding;
  const bits = weightBits(encoding);
  const values = new Float32Array((packed.length * 8) / bits);
  const decode = { 4: decodeNibbles, 8: decodeBytes }[bits] ?? decodeBits;
  for (let g = 0; g * group < values.length; g++) {
    const own = values.subarray(g * group, (g + 1) * group);
    decode(own, packed, (g * group * bits) / 8, bits, table, scales[g]!, biases[g]!);
  }
  return values;
}

type DecodeGroup = (
  values: Float32Array,
  packed: Uint8Array,
  begin: number,
  bits: number,
  table: readonly number[],
  scale: number,
  bias: number,
) => void;

const levels = new Float32Array(16);

/** As `decodeBits` for 4 bits, with each of the few values computed once. */
const decodeNibbles: DecodeGroup = (values, packed, begin, _bits, table, scale, bias) => {
  for (let q = 0; q < 16; q++) levels[q] = scale * table[q]! + bias;
  for (let i = 0, at = begin; i < values.length; at++) {
    const byte = packed[at]!;
    values[i++] = levels[byte & 15]!;
    values[i++] = levels[byte >>> 4]!;
  }
};

/** As `decodeBits` for 8 bits, which only affine matrices have: q is the byte. */
const decodeBytes: DecodeGroup = (values, packed, begin, _bits, _table, scale, bias) => {
  for (let i = 0; i < values.length; i++) values[i] = scale * packed[begin + i]! + bias;
};

/** Decodes the group whose integers begin at that byte. */
const decodeBits: DecodeGroup = (values, packed, begin, bits, table, scale, bias) => {
  const mask = 2 ** bits - 1;
  for (let i = 0, bit = 0; i < values.length; i++, bit += bits) {
    const at = begin + (bit >>> 3);
    // No integer reaches into a third byte.
    const two = packed[at]! | (packed[at + 1]! << 8);
    values[i] = scale * table[(two >>> (bit & 7)) & mask]! + bias;
  }
};

function decodeScales(type: Codebook["scales"], bytes: Uint8Array): Float32Array {
  if (type !== "e8m0") return decodeFloats(type, bytes);
  return Float32Array.from(bytes, (s) => 2 ** (s - 127));
}
