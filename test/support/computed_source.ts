import { assert } from "../../src/base/assert.ts";
import { MixtabError } from "../../src/base/errors.ts";
import { checkRange, type Source } from "../../src/source/source.ts";
import { fillWords, type Mask, type Stream } from "./synthetic_model.ts";

const BYTES = { F32: 4, F16: 2, BF16: 2, U32: 4 } as const;
const WEIGHTS = "model.safetensors";
/** Weights are made by this much at a time. */
const PIECE_BYTES = 1024 * 1024;

/** A tensor of a safetensors file, and where its words come from. */
export interface ComputedTensor {
  readonly name: string;
  readonly dtype: keyof typeof BYTES;
  readonly shape: readonly number[];
  readonly stream: Stream;
  readonly mask: Mask;
}

/** Some of a tensor's words. */
export interface Slice {
  readonly tensor: ComputedTensor;
  readonly first: number;
  readonly count: number;
}

/** Words that a tensor takes. */
export function wordCount({ name, dtype, shape }: ComputedTensor): number {
  const words = shape.reduce((product, size) => product * size, BYTES[dtype]) / 4;
  assert(Number.isInteger(words), `${name} is made of whole words`);
  return words;
}

/**
 * A model's folder that is not stored anywhere: config.json is given, and the bytes of
 * model.safetensors are made when a range of them is read, so that a model of any size opens as a
 * published one does. Its data begin at any byte, as in MLX's files, and pieces share their memory,
 * as any source's may. It counts as remote, so that a store keeps what it gives.
 */
export function computedSource(config: object, tensors: readonly ComputedTensor[]): Source {
  /** Word of the data at which each tensor begins. */
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

/** The words of some slices, one after the other. */
export function wordsOfSlices(slices: readonly Slice[]): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(slices.reduce((sum, { count }) => sum + count, 0));
  let at = 0;
  for (const { tensor, first, count } of slices) {
    fillWords(words.subarray(at, at + count), tensor.stream, first, tensor.mask);
    at += count;
  }
  return words;
}

/** The file's beginning: the header's length, and the header, not padded. */
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

/** Index of the last of ascending numbers that is at most `most`; the first of them is. */
function lastUpTo(ascending: readonly number[], most: number): number {
  let [low, high] = [0, ascending.length];
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! <= most) low = middle;
    else high = middle;
  }
  return low;
}
