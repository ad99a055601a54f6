/**
 * The first key that occurs twice in the same object of `json`, or undefined. `json` must have
 * passed JSON.parse, which keeps the last of such keys without an error. Keys are compared as
 * decoded: "a" and "\u0061" are the same (RFC 8259, section 8.3).
 */
export function duplicateKey(json: string): string | undefined {
  const open: (Set<string> | null)[] = []; // keys of each enclosing object; null for an array
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === "{") open.push(new Set());
    else if (char === "[") open.push(null);
    else if (char === "}" || char === "]") open.pop();
    else if (char === '"') {
      const end = stringEnd(json, at);
      const keys = open.at(-1);
      if (keys && isKey(json, end)) {
        const key = JSON.parse(json.slice(at, end)) as string;
        if (keys.has(key)) return key;
        keys.add(key);
      }
      at = end - 1;
    }
  }
  return undefined;
}

/** The index just after the closing quote of the string that begins at `begin`. */
function stringEnd(json: string, begin: number): number {
  let at = begin + 1;
  while (json[at] !== '"') at += json[at] === "\\" ? 2 : 1;
  return at + 1;
}

/** Whether the string that ends at `end` is a key, that is, whether a colon follows it. */
function isKey(json: string, end: number): boolean {
  let at = end;
  while (json[at] === " " || json[at] === "\n" || json[at] === "\r" || json[at] === "\t") at++;
  return json[at] === ":";
}
