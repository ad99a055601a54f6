/**
 * The length of the longest suffix of `text`, short of a whole one, with which one of `strings`
 * begins: what must be held back until more text decides. Example: 2 for "the EN" and "END".
 */
export function beginning(text: string, strings: readonly string[]): number {
  const longest = Math.max(0, ...strings.map((string) => string.length - 1));
  for (let length = Math.min(longest, text.length); length > 0; length--)
    if (strings.some((string) => string.length > length && string.startsWith(text.slice(-length)))) return length;
  return 0;
}
