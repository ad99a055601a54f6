/**
 * Throws when `fact` is false: a bug in mixtab, never bad input (that is a {@link MixtabError}).
 */
export function assert(fact: unknown, whatShouldBeSo: string): asserts fact {
  if (!fact) throw new Error(`mixtab is wrong about itself: ${whatShouldBeSo}`);
}

/** The value, which must be there. */
export function defined<T>(value: T | undefined | null, name: string): T {
  assert(value !== undefined && value !== null, `${name} is defined`);
  return value;
}
