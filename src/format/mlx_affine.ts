import { assert } from "../base/assert.ts";
import { type Affine, type Codebook, type Matrix, rangeBytes, weightBits } from "../base/matrix.ts";
import { decodeFloats } from "./floats.ts";

/** The values of each table of a codebook. */
const TABLES = {
  fp4: [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6],
} as const satisfies Record<Codebook["table"], readonly number[]>;

/**
 * Decodes a matrix to f32, row-major [rows, columns]. Plain floats are widened exactly. The others
 * are decoded as MLX defines them: w = scale * q + bias, or scale * table[q], rounded once. `bytes`:
 * the buffer from whose beginning the matrix's offsets count; it may begin at any address.
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
      return decodeGroups(encoding, range("weight"), (q, g) => scales[g]! * q + biases[g]!);
    }
    case "codebook": {
      const scales = decodeScales(encoding.scales, range("scales"));
      const table = TABLES[encoding.table];
      return decodeGroups(encoding, range("weight"), (q, g) => scales[g]! * table[q]!);
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
 * Decodes groups one after the other; `value` gives the number that an integer means in group g. A
 * row is a whole number of groups, and a group begins at a whole byte, so rows do not matter here.
 * `value` computes in doubles, in which scale * q is exact; so is the sum with the bias if scales
 * and biases are f16.
 */
function decodeGroups(
  encoding: Affine | Codebook,
  packed: Uint8Array,
  value: (q: number, g: number) => number,
): Float32Array<ArrayBuffer> {
  const { group } = encoding;
  const bits = weightBits(encoding);
  const mask = 2 ** bits - 1;
  const groupBytes = (group * bits) / 8;
  const values = new Float32Array((packed.length * 8) / bits);
  for (let g = 0; g * group < values.length; g++)
    for (let i = 0; i < group; i++) {
      const at = g * groupBytes + ((i * bits) >>> 3);
      // No integer reaches into a third byte.
      const two = packed[at]! | (packed[at + 1]! << 8);
      values[g * group + i] = value((two >>> ((i * bits) & 7)) & mask, g);
    }
  return values;
}

function decodeScales(type: Codebook["scales"], bytes: Uint8Array): ArrayLike<number> {
  if (type !== "e8m0") return decodeFloats(type, bytes);
  return Float32Array.from(bytes, (s) => 2 ** (s - 127));
}
