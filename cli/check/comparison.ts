/** One line of a check: what was compared, whether it held, and what to show. */
export interface Line {
  readonly quantity: string;
  readonly ok: boolean;
  readonly text: string;
}

/**
 * Compares numbers [rows, width]: holds if the largest |got - want| / (1 + |want|) is at most
 * `tolerance`.
 */
export function compareNumbers(
  quantity: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  width: number,
  tolerance: number,
): Line {
  if (got.length !== want.length)
    return { quantity, ok: false, text: `${got.length} numbers where ${want.length} are due` };
  let largest = 0;
  let at = 0;
  for (let i = 0; i < want.length; i++) {
    const difference = Math.abs(got[i]! - want[i]!) / (1 + Math.abs(want[i]!));
    if (!(difference <= largest)) {
      largest = difference;
      at = i;
      if (Number.isNaN(difference)) break;
    }
  }
  const where = `[${Math.floor(at / width)}, ${at % width}]`;
  const values = `${got[at]} for ${want[at]}`;
  return {
    quantity,
    ok: largest <= tolerance,
    text: `max |difference| / (1 + |x|) ${largest.toExponential(2)} at ${where}: ${values}`,
  };
}

/** Compares whole numbers, which must be equal, and shows the first difference, if any. */
export function compareExactly(quantity: string, got: ArrayLike<number>, want: ArrayLike<number>, width = 1): Line {
  const length = Math.max(got.length, want.length);
  for (let i = 0; i < length; i++) {
    if (got[i] === want[i]) continue;
    const where = width === 1 ? `${i}` : `[${Math.floor(i / width)}, ${i % width}]`;
    return { quantity, ok: false, text: `first difference at ${where}: ${got[i]} for ${want[i]}` };
  }
  return { quantity, ok: true, text: `equal (${want.length})` };
}

/** Compares texts, which must be equal, and shows what surrounds the first difference, if any. */
export function compareText(quantity: string, got: string, want: string): Line {
  if (got === want) return { quantity, ok: true, text: `equal (${want.length} characters)` };
  let at = 0;
  while (got[at] === want[at]) at++;
  const show = (text: string) => JSON.stringify(text.slice(Math.max(0, at - 20), at + 20));
  return { quantity, ok: false, text: `first difference at character ${at}: ${show(got)} for ${show(want)}` };
}
