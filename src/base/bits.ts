/**
 * A set of small integers is kept as bits of u32 words, as the kernels write it: integer e is in
 * the set if bit e % 32 of word e / 32 is 1. `wordsOf`: how many words a set of integers below
 * `size` takes. Example: 40 experts take 2 words.
 */
export const wordsOf = (size: number): number => Math.ceil(size / 32);

export const hasBit = (words: Uint32Array, bit: number): boolean => ((words[bit >>> 5]! >>> (bit & 31)) & 1) === 1;

export function setBit(words: Uint32Array, bit: number): void {
  words[bit >>> 5]! |= 1 << (bit & 31);
}

/** The integers in a set, ascending. */
export function members(words: Uint32Array): number[] {
  const found: number[] = [];
  words.forEach((word, index) => {
    for (let bit = 0; bit < 32; bit++) if ((word >>> bit) & 1) found.push(index * 32 + bit);
  });
  return found;
}

/** The union of sets of `words` words each. */
export function union(sets: readonly Uint32Array[], words: number): Uint32Array {
  const all = new Uint32Array(words);
  for (const set of sets) for (const [index, word] of set.entries()) all[index]! |= word;
  return all;
}
