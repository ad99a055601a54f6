import { assert } from "../base/assert.ts";
import type { Affine } from "../base/matrix.ts";
import { release } from "../base/release.ts";
import { encodeFloats, roundHalfEven } from "./floats.ts";

/** The ranges of an affine matrix, as {@link quantizeRows} makes them. */
export interface QuantizedRows {
  /** u32 words, lowest bits first: [rows, columns * bits / 32]. */
  readonly weight: Uint8Array<ArrayBuffer>;
  /** [rows, columns / group], as `biases`. */
  readonly scales: Uint8Array<ArrayBuffer>;
  readonly biases: Uint8Array<ArrayBuffer>;
}

/** MLX's smallest scale before it is fitted: a constant group would divide by 0. */
const SMALLEST_SCALE = Math.fround(1e-7);

/**
 * Quantises whole rows to affine 4 or 8 bits, to the same bytes as MLX: in f32, one rounding per
 * operation, and with the f32 scale and bias, which are only then rounded to the type of the
 * encoding's scales. The end of the range that is larger in magnitude is met exactly.
 * @see https://github.com/ml-explore/mlx `affine_quantize`
 */
export function quantizeRows(values: Float32Array, columns: number, { bits, group, scales }: Affine): QuantizedRows {
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

/** The highest of the levels that so many bits count. */
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

/** The levels of a group as words, lowest bits first. */
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
 * The nearest of 0 to `most`, ties to even. Twice as fast as roundHalfEven here, since the answer
 * is an integer throughout.
 */
function level(x: number, most: number): number {
  if (!(x > 0)) return 0;
  if (x >= most) return most;
  const up = (x + 0.5) | 0;
  return up - x === 0.5 ? up & ~1 : up;
}
