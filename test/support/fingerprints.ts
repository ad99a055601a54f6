import type { Slice } from "./computed_source.ts";
import type { FakeSlots } from "./fake_device.ts";
import { keysOf, wordAt } from "./synthetic_model.ts";

/** Of longer records a fingerprint looks at some words. */
const WHOLE_BYTES = 1024 * 1024;
/** Words between those; odd, so that no row or group hides from it. */
const STRIDE = 251;

interface Print {
  bytes: number;
  sum: number;
}

/**
 * Instead of what lies in slots, its length and the sum of its words (or some of them), each with
 * its place; compared with what is published of an expert.
 */
export class Fingerprints {
  private readonly slots: FakeSlots;
  private readonly published: (id: number) => readonly Slice[];
  private readonly stride: number;
  private readonly prints = new Map<number, Print>();
  private readonly expected = new Map<number, number>();

  /** `published`: what makes up the record of an expert, by its number. */
  constructor(slots: FakeSlots, published: (id: number) => readonly Slice[]) {
    this.slots = slots;
    this.published = published;
    this.stride = slots.bytes > WHOLE_BYTES ? STRIDE : 1;
    slots.onWrite = (slot, offset, bytes) => this.write(slot, offset, bytes);
  }

  /** Whether a slot holds the record of an expert, whole. */
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

/** How far it is from a place to the next that is a multiple of `stride`. */
const firstFrom = (place: number, stride: number): number => (stride - (place % stride)) % stride;

/** The sum of slices that follow each other, from the generator, without making the other words. */
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
