/**
 * Computes the numbers of models whose weights are stored nowhere. Each word of a tensor is a hash
 * of (seed, stream, place), computed when it is asked for, so that any slice can be made without
 * the rest. 99 MB take about 60 ms.
 */
import { assert } from "../../src/base/assert.ts";
import { type Affine, type Float, layExpert } from "../../src/base/matrix.ts";

/** The experts of a model: how many there are, and D and F, the widths of each. */
export interface Geometry {
  readonly layers: number;
  readonly experts: number;
  readonly top: number;
  readonly width: number;
  readonly hidden: number;
}

/** config.json of mistralai/Mixtral-8x7B-Instruct-v0.1. */
export const MIXTRAL_8X7B: Geometry = { layers: 32, experts: 8, top: 2, width: 4096, hidden: 14336 };

/** config.json of Qwen/Qwen3-30B-A3B. */
export const QWEN3_30B_A3B: Geometry = { layers: 48, experts: 128, top: 8, width: 2048, hidden: 768 };

/** The encoding of MLX's 4-bit models: 4.5 bits per weight. */
export const Q4: Affine = { kind: "affine", bits: 4, group: 64, scales: "bf16" };

/** Identifies a sequence of words. Both numbers are u32. */
export interface Stream {
  readonly seed: number;
  readonly stream: number;
}

/**
 * How a word of the generator becomes a word of a tensor: bits in `keep` stay as drawn, bits in
 * `set` become 1, all others 0.
 */
export interface Mask {
  readonly keep: number;
  readonly set: number;
}

/** Words as they were drawn, for quantised weights. */
export const RAW: Mask = { keep: -1, set: 0 };

/**
 * For each float type: the mask of sign and fraction, the number of fraction bits, the exponent's
 * bias.
 */
const FLOAT_BITS = {
  f32: { keep: 0x807fffff, fraction: 23, bias: 127 },
  f16: { keep: 0x83ff, fraction: 10, bias: 15 },
  bf16: { keep: 0x807f, fraction: 7, bias: 127 },
} as const satisfies Record<Float, unknown>;

/**
 * Positive and negative numbers of about `size`: the exponent is fixed, sign and fraction are
 * drawn.
 */
export function numbersOf(dtype: Float, size: number): Mask {
  const { keep, fraction, bias } = FLOAT_BITS[dtype];
  const exponent = bias + Math.floor(Math.log2(size));
  assert(exponent > 0 && exponent < 2 * bias, `${size} is a normal ${dtype}`);
  return eachOf(dtype, { keep, set: exponent << fraction });
}

/** Numbers from 1 to 1.25: a norm's weights. */
export function norms(dtype: Float): Mask {
  const { fraction, bias } = FLOAT_BITS[dtype];
  return eachOf(dtype, { keep: 2 ** (fraction - 2) - 1, set: bias << fraction });
}

/** A word holds two numbers of f16 or bf16. */
const eachOf = (dtype: Float, { keep, set }: Mask): Mask =>
  dtype === "f32" ? { keep, set } : { keep: keep | (keep << 16), set: set | (set << 16) };

/** The keys of a stream, which make its words differ from those of others. */
export function keysOf({ seed, stream }: Stream) {
  const a = mix(mix(seed, 0x9e3779b9), stream);
  return { a: a | 0, b: mix(mix(a, 0x7f4a7c15), stream) | 0 };
}

/**
 * The word (i32) at a place of the stream with these keys: the finaliser of MurmurHash3 (Appleby),
 * keyed at both of its steps.
 */
export function wordAt(place: number, a: number, b: number): number {
  const h = Math.imul(place ^ a, 0x85ebca6b);
  const last = Math.imul((h ^ (h >>> 13)) + b, 0xc2b2ae35);
  return last ^ (last >>> 16);
}

/** Fills `words` with those of a stream from place `first` on. */
export function fillWords(words: Uint32Array, stream: Stream, first = 0, { keep, set } = RAW): void {
  const { a, b } = keysOf(stream);
  for (let index = 0; index < words.length; index++) words[index] = (wordAt(first + index, a, b) & keep) | set;
}

/** Fills `numbers` with those of a stream, in [-scale, scale). */
export function fillNumbers(numbers: Float32Array, stream: Stream, scale: number): void {
  const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  fillWords(words, stream);
  for (let index = 0; index < words.length; index++) numbers[index] = ((words[index]! >>> 8) / 0x800000 - 1) * scale;
}

/** The bytes of an expert's record. */
export const recordBytes = ({ width, hidden }: Geometry, encoding = Q4): number =>
  layExpert(width, hidden, encoding, encoding, encoding).bytes;

function mix(key: number, value: number): number {
  let h = key ^ value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
