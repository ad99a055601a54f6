import { assert } from "../base/assert.ts";
import { type Matrix, rangeBytes } from "../base/matrix.ts";
import { decodeFloats } from "./floats.ts";

/**
 * Decodes a matrix to f32, row-major [rows, columns]. Plain floats are widened exactly. Affine
 * matrices are decoded as MLX defines it: w = scale * q + bias, rounded once; q has 4 bits (the
 * lower nibble of a byte comes first) or 8. `bytes`: the buffer from whose beginning the matrix's
 * offsets count; it may begin at any address.
 * @see https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html
 */
export function decodeMatrix(matrix: Matrix, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const { rows, columns, encoding } = matrix;
  const sizes = rangeBytes(rows, columns, encoding);
  assert(bytes.length >= matrix.weight + sizes.weight, "the matrix lies within its buffer");
  const packed = bytes.subarray(matrix.weight, matrix.weight + sizes.weight);
  switch (encoding.kind) {
    case "plain":
      return decodeFloats(encoding.dtype, packed);
    case "affine": {
      assert(bytes.length >= matrix.biases + sizes.biases, "the matrix lies within its buffer");
      const scales = decodeFloats(encoding.scales, bytes.subarray(matrix.scales, matrix.scales + sizes.scales));
      const biases = decodeFloats(encoding.scales, bytes.subarray(matrix.biases, matrix.biases + sizes.biases));
      const decode = encoding.bits === 4 ? decodeNibbles : decodeBytes;
      return decode(packed, scales, biases, encoding.group);
    }
    default:
      return encoding satisfies never;
  }
}

// A row is a whole number of groups, so the next two functions walk from group to group without
// regard to rows. They compute in doubles, in which scale * q is exact; so is the sum with the bias
// if scales and biases are f16.

function decodeNibbles(packed: Uint8Array, scales: Float32Array, biases: Float32Array, group: number) {
  const values = new Float32Array(packed.length * 2);
  const levels = new Float32Array(16);
  let at = 0;
  for (let g = 0; g < scales.length; g++) {
    const scale = scales[g]!;
    const bias = biases[g]!;
    for (let q = 0; q < 16; q++) levels[q] = scale * q + bias;
    for (let i = (g * group) / 2; i < ((g + 1) * group) / 2; i++) {
      const byte = packed[i]!;
      values[at++] = levels[byte & 15]!;
      values[at++] = levels[byte >>> 4]!;
    }
  }
  return values;
}

function decodeBytes(packed: Uint8Array, scales: Float32Array, biases: Float32Array, group: number) {
  const values = new Float32Array(packed.length);
  for (let g = 0; g < scales.length; g++) {
    const scale = scales[g]!;
    const bias = biases[g]!;
    for (let i = g * group; i < (g + 1) * group; i++) values[i] = scale * packed[i]! + bias;
  }
  return values;
}
