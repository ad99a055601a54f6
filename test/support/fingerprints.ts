import type { FakeSlots } from "./fake_device.ts";
import { keysOf, type Stream, wordAt } from "./synthetic_model.ts";

/** Words between those that a fingerprint looks at; odd, so that no row or group hides from it. */
const STRIDE = 251;

interface Print {
  bytes: number;
  sum: number;
}

/** Instead of what lies in slots, its length and the sum of some words, each with its place; compared with what the generator says of an expert. */
export class Fingerprints {
  private readonly slots: FakeSlots;
  private readonly seed: number;
  private readonly prints = new Map<number, Print>();
  private readonly expected = new Map<number, number>();

  constructor(slots: FakeSlots, seed: number) {
    this.slots = slots;
    this.seed = seed;
    slots.onWrite = (slot, offset, bytes) => this.write(slot, offset, bytes);
  }

  /** Whether a slot holds the record of an expert, whole. */
  matches(slot: number, id: number): boolean {
    const print = this.prints.get(slot);
    return print?.bytes === this.slots.bytes && print.sum === this.expect(id);
  }

  private write(slot: number, offset: number, bytes: Uint8Array): void {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const print = offset === 0 ? { bytes: 0, sum: 0 } : this.prints.get(slot)!;
    print.bytes += bytes.length;
    print.sum = (print.sum + sumOf(words, offset / 4)) | 0;
    this.prints.set(slot, print);
  }

  private expect(id: number): number {
    const known = this.expected.get(id);
    if (known !== undefined) return known;
    const sum = sampled({ seed: this.seed, stream: id }, this.slots.bytes / 4);
    this.expected.set(id, sum);
    return sum;
  }
}

const weigh = (word: number, place: number): number => Math.imul(word, 2 * place + 1);

/** Of the words that lie from `first` on in their record. */
function sumOf(words: Uint32Array, first: number): number {
  let sum = 0;
  const begin = (STRIDE - (first % STRIDE)) % STRIDE;
  for (let index = begin; index < words.length; index += STRIDE) sum = (sum + weigh(words[index]!, first + index)) | 0;
  return sum;
}

/** The same of a whole record, from the generator, without making the rest. */
function sampled(stream: Stream, words: number): number {
  const { a, b } = keysOf(stream);
  let sum = 0;
  for (let place = 0; place < words; place += STRIDE) sum = (sum + weigh(wordAt(place, a, b), place)) | 0;
  return sum;
}
