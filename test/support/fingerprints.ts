import type { Slice } from "./computed_source.ts";
import type { FakeSlots } from "./fake_device.ts";
import { keysOf, wordAt } from "./synthetic_model.ts";

/** Of records longer than this, a fingerprint takes only some words. */
const WHOLE_BYTES = 1024 * 1024;
/**
 * The distance between those words. It is odd, so that in time they fall on every place of a row or
 * group.
 */
const STRIDE = 251;

interface Print {
  bytes: number;
  sum: number;
}

/**
 * Keeps, for each slot, not its bytes but their number and the sum of its words (of some of them in
 * long records), each weighted by its place. Tests compare that with what is published of an
 * expert.
 */
export class Fingerprints {
  private readonly slots: FakeSlots;
  private readonly published: (id: number) => readonly Slice[];
  private readonly stride: number;
  private readonly prints = new Map<number, Print>();
  private readonly expected = new Map<number, number>();

  /** `published`: the slices that make up the record of an expert, by its number. */
  constructor(slots: FakeSlots, published: (id: number) => readonly Slice[]) {
    this.slots = slots;
    this.published = published;
    this.stride = slots.bytes > WHOLE_BYTES ? STRIDE : 1;
    slots.onWrite = (slot, offset, bytes) => this.write(slot, offset, bytes);
  }

  /** Whether a slot holds the whole record of an expert. */
  matches(slot: number, id: number): boolean {
    const print = this.prints.get(slot);
    return print?.bytes === this.slots.bytes && print.sum === this.expect(id);
  }

  private write(slot: number, offset: number, bytes: Uint8Array): void {
    const { stride } = this;
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const print = offset === 0 ? { bytes: 0, sum: 0 } : this.prints.get(slot)!;
    print.bytes += bytes.length;
    for (let index = firstFrom(offset / 4, stride); index < words.length; index += stride)
      print.sum = (print.sum + weigh(words[index]!, offset / 4 + index)) | 0;
    this.prints.set(slot, print);
  }

  private expect(id: number): number {
    const known = this.expected.get(id);
    if (known !== undefined) return known;
    const sum = sumOf(this.published(id), this.stride);
    this.expected.set(id, sum);
    return sum;
  }
}

const weigh = (word: number, place: number): number => Math.imul(word, 2 * place + 1);

/** The distance from a place to the next one that is a multiple of `stride`. */
const firstFrom = (place: number, stride: number): number => (stride - (place % stride)) % stride;

/**
 * The sum over slices that follow each other. It is computed from the generator, without the words
 * that are left out.
 */
function sumOf(slices: readonly Slice[], stride: number): number {
  let sum = 0;
  let begin = 0;
  for (const { tensor, first, count } of slices) {
    const { a, b } = keysOf(tensor.stream);
    const { keep, set } = tensor.mask;
    for (let index = firstFrom(begin, stride); index < count; index += stride)
      sum = (sum + weigh((wordAt(first + index, a, b) & keep) | set, begin + index)) | 0;
    begin += count;
  }
  return sum;
}
