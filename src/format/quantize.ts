import { assert } from "../base/assert.ts";
import type { Affine } from "../base/matrix.ts";
import { release } from "../base/release.ts";
import { encodeFloats, roundHalfEven } from "./floats.ts";

/** The ranges of an affine matrix, as {@link quantizeRows} makes them. */
export interface QuantizedRows {
  /** u32 words, lowest bits first: [rows, columns * bits / 32]. */
  readonly weight: Uint8Array<ArrayBuffer>;
  /** The shape of both scales and biases is [rows, columns / group]. */
  readonly scales: Uint8Array<ArrayBuffer>;
  readonly biases: Uint8Array<ArrayBuffer>;
}

/**
 * MLX's lower limit for the first estimate of a group's scale. Without it, a group of equal values
 * would divide by 0.
 */
const SMALLEST_SCALE = Math.fround(1e-7);

/**
 * Quantises whole rows to affine 4 or 8 bits. The bytes are the same as MLX's, because the steps
 * are: all arithmetic is in f32 with one rounding per operation, and the integers are computed with
 * the f32 scale and bias, before these are rounded to the type of the encoding's scales. Of a
 * group's smallest and largest value, the one that is larger in magnitude is represented exactly.
 * @see https://github.com/ml-explore/mlx `affine_quantize`
 */
export function quantizeRows(values: Float32Array, columns: number, { bits, group, scales }: Affine): QuantizedRows {
  assert(bits === 4 || bits === 8, "floats are quantised to 4 or 8 bits");
  assert(columns % group === 0 && values.length % columns === 0, `${values.length} values are rows of whole groups`);
  const groups = values.length / group;
  const words = new Uint32Array((values.length * bits) / 32);
  const groupScales = new Float32Array(groups);
  const groupBiases = new Float32Array(groups);
  for (let g = 0; g < groups; g++) {
    const begin = g * group;
    fitGroup(values, begin, begin + group, bits, g, groupScales, groupBiases);
    packGroup(values, begin, begin + group, bits, groupScales[g]!, groupBiases[g]!, words);
  }
  const quantized = {
    weight: new Uint8Array(words.buffer),
    scales: encodeFloats(scales, groupScales),
    biases: encodeFloats(scales, groupBiases),
  };
  if (scales !== "f32") for (const { buffer } of [groupScales, groupBiases]) release(new Uint8Array(buffer));
  return quantized;
}

/** The largest integer of so many bits: 15 or 255. */
const highest = (bits: number): number => 2 ** bits - 1;

function fitGroup(
  values: Float32Array,
  begin: number,
  end: number,
  bits: number,
  g: number,
  scales: Float32Array,
  biases: Float32Array,
): void {
  let min = values[begin]!;
  let max = min;
  for (let i = begin + 1; i < end; i++) {
    const value = values[i]!;
    if (value < min) min = value;
    else if (value > max) max = value;
  }
  const step = Math.max(Math.fround(Math.fround(max - min) / highest(bits)), SMALLEST_SCALE);
  const fromMin = Math.abs(min) > Math.abs(max);
  const edge = fromMin ? min : max;
  const scale = fromMin ? step : -step;
  const atEdge = roundHalfEven(Math.fround(edge / scale));
  scales[g] = atEdge === 0 ? scale : Math.fround(edge / atEdge);
  biases[g] = atEdge === 0 ? 0 : edge;
}

/**
 * Quantises a group with its scale and bias and packs the integers into words, the first in the
 * lowest bits.
 */
function packGroup(
  values: Float32Array,
  begin: number,
  end: number,
  bits: number,
  scale: number,
  bias: number,
  words: Uint32Array,
): void {
  const perWord = 32 / bits;
  const most = highest(bits);
  for (let i = begin; i < end; i += perWord) {
    let word = 0;
    for (let k = 0; k < perWord; k++)
      word |= level(Math.fround(Math.fround(values[i + k]! - bias) / scale), most) << (bits * k);
    words[i / perWord] = word;
  }
}

/**
 * The whole number from 0 to `most` that is nearest to x, ties to even. This is twice as fast here
 * as roundHalfEven, since its result is an integer throughout.
 */
function level(x: number, most: number): number {
  if (!(x > 0)) return 0;
  if (x >= most) return most;
  const up = (x + 0.5) | 0;
  return up - x === 0.5 ? up & ~1 : up;
}
