/** Errors show at most so many characters of what they complain about: it may be megabytes long. */
const MOST_QUOTED = 200;

/** A text as it stands; the beginning of a long one, without half a character at its end. */
export function excerpt(text: string): string {
  if (text.length <= MOST_QUOTED) return text;
  return `${text.slice(0, MOST_QUOTED - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}

/** A value as JSON, for an error's message; the beginning of a long one. */
export function quote(value: unknown): string {
  try {
    return excerpt(JSON.stringify(value) ?? String(value));
  } catch {
    return "a value that cannot be shown"; // JSON.stringify recurses: a file may nest too deep for it
  }
}
