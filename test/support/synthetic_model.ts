/**
 * Models of any size whose weights nobody keeps: each word of a record is a hash of (seed, layer, expert, place), made when it is asked for. Any slice can
 * be made without the rest; 99 MB take about 60 ms.
 */
import { type Encoding, layExpert } from "../../src/base/matrix.ts";

/** The experts of a model: their number, and the widths D and F of each. */
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

/** What MLX's 4-bit models use: 4.5 bits per weight. */
export const Q4: Encoding = { kind: "affine", bits: 4, group: 64, scales: "bf16" };

/** Where a word of the generator lies; `seed` and `stream` (layer * E + expert for records) are u32. */
export interface Stream {
  readonly seed: number;
  readonly stream: number;
}

/** Bytes of a slice that a record is given in. */
const SLICE_BYTES = 1024 * 1024;

/** What makes the words of a stream its own. */
export function keysOf({ seed, stream }: Stream) {
  const a = mix(mix(seed, 0x9e3779b9), stream);
  return { a: a | 0, b: mix(mix(a, 0x7f4a7c15), stream) | 0 };
}

/** The word (i32) at a place of the stream with these keys: the finaliser of MurmurHash3 (Appleby), keyed at both of its steps. */
export function wordAt(place: number, a: number, b: number): number {
  const h = Math.imul(place ^ a, 0x85ebca6b);
  const last = Math.imul((h ^ (h >>> 13)) + b, 0xc2b2ae35);
  return last ^ (last >>> 16);
}

/** Fills `words` with those of a stream from place `first` on. */
export function fillWords(words: Uint32Array, stream: Stream, first = 0): void {
  const { a, b } = keysOf(stream);
  for (let index = 0; index < words.length; index++) words[index] = wordAt(first + index, a, b);
}

/** The same as numbers in [-scale, scale). */
export function fillNumbers(numbers: Float32Array, stream: Stream, scale: number): void {
  const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  fillWords(words, stream);
  for (let index = 0; index < words.length; index++) numbers[index] = ((words[index]! >>> 8) / 0x800000 - 1) * scale;
}

/** Bytes of an expert's record. */
export const recordBytes = ({ width, hidden }: Geometry, encoding = Q4): number =>
  layExpert(width, hidden, encoding, encoding, encoding).bytes;

/** The record of an expert in slices, as a `ReadExpert` gives it: `bytes` of the stream layer * E + expert. */
export async function giveRecord(
  { seed, stream }: Stream,
  bytes: number,
  accept: (offset: number, bytes: Uint8Array<ArrayBuffer>) => void,
  signal?: AbortSignal,
): Promise<void> {
  for (let offset = 0; offset < bytes; offset += SLICE_BYTES) {
    signal?.throwIfAborted();
    const words = new Uint32Array(Math.min(SLICE_BYTES, bytes - offset) / 4);
    fillWords(words, { seed, stream }, offset / 4);
    accept(offset, new Uint8Array(words.buffer));
    await Promise.resolve();
  }
}

function mix(key: number, value: number): number {
  let h = key ^ value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
