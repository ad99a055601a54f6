/**
 * Tells as text the first places where numbers differ by more than tolerance * (1 + |expected|);
 * the text is empty if there are none.
 */
export function differences(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  shown = 5,
): string {
  if (actual.length !== expected.length) return `${actual.length} numbers instead of ${expected.length}`;
  const places: number[] = [];
  for (let i = 0; i < expected.length; i++)
    if (!(Math.abs(actual[i]! - expected[i]!) <= tolerance * (1 + Math.abs(expected[i]!)))) places.push(i);
  const lines = places.slice(0, shown).map((i) => `[${i}] is ${actual[i]}, not ${expected[i]}`);
  return places.length === 0 ? "" : `${places.length} of ${expected.length} differ: ${lines.join("; ")}`;
}
