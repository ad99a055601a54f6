/**
 * Throws if `fact` is false. That is for bugs in mixtab itself; bad input from outside is reported
 * with a {@link MixtabError}.
 */
export function assert(fact: unknown, whatShouldBeSo: string): asserts fact {
  if (!fact) throw new Error(`mixtab is wrong about itself: ${whatShouldBeSo}`);
}

/** Returns `value`, and throws as `assert` does if it is undefined or null. */
export function defined<T>(value: T | undefined | null, name: string): T {
  assert(value !== undefined && value !== null, `${name} is defined`);
  return value;
}
