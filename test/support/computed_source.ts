import { assert } from "../../src/base/assert.ts";
import { MixtabError } from "../../src/base/errors.ts";
import { checkRange, type Source } from "../../src/source/source.ts";
import { fillWords, type Mask, type Stream } from "./synthetic_model.ts";

const BYTES = { F32: 4, F16: 2, BF16: 2, U32: 4 } as const;
const WEIGHTS = "model.safetensors";
/** Weights are computed in pieces of so many bytes. */
const PIECE_BYTES = 1024 * 1024;

/** A tensor of a safetensors file, and the stream of which its words are computed. */
export interface ComputedTensor {
  readonly name: string;
  readonly dtype: keyof typeof BYTES;
  readonly shape: readonly number[];
  readonly stream: Stream;
  readonly mask: Mask;
}

/** A part of a tensor's words. */
export interface Slice {
  readonly tensor: ComputedTensor;
  readonly first: number;
  readonly count: number;
}

/** How many words a tensor takes. */
export function wordCount({ name, dtype, shape }: ComputedTensor): number {
  const words = shape.reduce((product, size) => product * size, BYTES[dtype]) / 4;
  assert(Number.isInteger(words), `${name} is made of whole words`);
  return words;
}

/**
 * A model's folder that is not stored anywhere. config.json is given; bytes of model.safetensors
 * are computed when a range of them is read, so that a model of any size can be opened as a
 * published one. Its data may begin at any byte, as in MLX's files, and pieces may share their
 * memory, as those of any source. It counts as remote, so that a store keeps what it gives.
 */
export function computedSource(config: object, tensors: readonly ComputedTensor[]): Source {
  /** The word of the data at which each tensor begins. */
  const begins: number[] = [];
  let words = 0;
  for (const tensor of tensors) {
    begins.push(words);
    words += wordCount(tensor);
  }
  const head = headOf(tensors, begins);
  const fileBytes = head.length + 4 * words;
  const text = JSON.stringify(config);

  function size(file: string): number {
    if (file !== WEIGHTS) throw new MixtabError("not-found", `There is no file ${file}.`);
    return fileBytes;
  }

  /**
   * Fills `target` with words of the data from word `first` on, which may belong to several
   * tensors.
   */
  function fill(target: Uint32Array, first: number): void {
    const end = first + target.length;
    let index = lastUpTo(begins, first);
    for (; index < tensors.length && begins[index]! < end; index++) {
      const begin = begins[index]!;
      const from = Math.max(first, begin);
      const to = Math.min(end, begins[index + 1] ?? words);
      const { stream, mask } = tensors[index]!;
      fillWords(target.subarray(from - first, to - first), stream, from - begin, mask);
    }
  }

  return {
    name: "computed",
    remote: true,
    text: async (file) => (file === "config.json" ? text : undefined),
    size: async (file) => size(file),

    async *read(file, begin, end, signal) {
      checkRange(file, begin, end, size(file));
      if (begin < head.length) yield head.slice(begin, end);
      const memory = new Uint32Array(Math.ceil(Math.min(PIECE_BYTES, end - begin) / 4) + 1);
      for (let at = Math.max(begin, head.length); at < end; at += PIECE_BYTES) {
        signal?.throwIfAborted();
        const place = at - head.length;
        const bytes = Math.min(PIECE_BYTES, end - at);
        const first = Math.floor(place / 4);
        const piece = memory.subarray(0, Math.ceil((place + bytes) / 4) - first);
        fill(piece, first);
        yield new Uint8Array(piece.buffer, place - 4 * first, bytes);
      }
    },
  };
}

/** The words of slices, one after the other. */
export function wordsOfSlices(slices: readonly Slice[]): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(slices.reduce((sum, { count }) => sum + count, 0));
  let at = 0;
  for (const { tensor, first, count } of slices) {
    fillWords(words.subarray(at, at + count), tensor.stream, first, tensor.mask);
    at += count;
  }
  return words;
}

/** The beginning of the file: the length of the header, and the header without padding. */
function headOf(tensors: readonly ComputedTensor[], begins: readonly number[]): Uint8Array<ArrayBuffer> {
  const entries = tensors.map((tensor, index) => {
    const { name, dtype, shape } = tensor;
    const begin = 4 * begins[index]!;
    return [name, { dtype, shape, data_offsets: [begin, begin + 4 * wordCount(tensor)] }];
  });
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const head = new Uint8Array(8 + json.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
  head.set(json, 8);
  return head;
}

/**
 * The index of the last number that is at most `most`. `ascending` is ascending, and its first
 * number is at most `most`.
 */
function lastUpTo(ascending: readonly number[], most: number): number {
  let [low, high] = [0, ascending.length];
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! <= most) low = middle;
    else high = middle;
  }
  return low;
}
