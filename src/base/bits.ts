/** Sets of small integers as bits of u32 words, as the kernels write them: bit e of word e / 32. */
export const wordsOf = (size: number): number => Math.ceil(size / 32);

export const hasBit = (words: Uint32Array, bit: number): boolean => ((words[bit >>> 5]! >>> (bit & 31)) & 1) === 1;

export function setBit(words: Uint32Array, bit: number): void {
  words[bit >>> 5]! |= 1 << (bit & 31);
}

/** The members, ascending. */
export function members(words: Uint32Array): number[] {
  const found: number[] = [];
  words.forEach((word, index) => {
    for (let bit = 0; bit < 32; bit++) if ((word >>> bit) & 1) found.push(index * 32 + bit);
  });
  return found;
}

/** What is in any of the sets, each of `words` words. */
export function union(sets: readonly Uint32Array[], words: number): Uint32Array {
  const all = new Uint32Array(words);
  for (const set of sets) for (const [index, word] of set.entries()) all[index]! |= word;
  return all;
}
