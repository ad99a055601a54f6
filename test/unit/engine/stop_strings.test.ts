import fc from "fast-check";
import { expect, test } from "vitest";
import { StopStrings } from "../../../src/engine/stop_strings.ts";

/** All that is shown of a text that comes in pieces. */
function shown(pieces: readonly string[], stops: readonly string[]): string {
  const watch = new StopStrings(stops);
  let text = "";
  for (const piece of pieces) {
    const next = watch.push(piece);
    text += next.text;
    if (next.stopped) return text;
  }
  return text + watch.flush();
}

test("text ends before the first stop string, however it is cut into pieces", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 12 });
  const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 }), {
    maxLength: 3,
  });
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 8 }), stops, (pieces, strings) => {
      const text = pieces.join("");
      const got = shown(pieces, strings);
      expect(text.startsWith(got)).toBe(true);
      expect(strings.every((stop) => !got.includes(stop))).toBe(true);
      if (strings.every((stop) => !text.includes(stop))) expect(got).toBe(text);
      else expect(strings.some((stop) => text.startsWith(stop, got.length))).toBe(true);
    }),
    { numRuns: 500, seed: 1 },
  );
});

test("only what may become a stop string is held back", () => {
  const watch = new StopStrings(["\nUser:"]);
  expect(watch.push("Hello\nUs")).toEqual({ text: "Hello", stopped: false });
  expect(watch.push("e")).toEqual({ text: "", stopped: false });
  expect(watch.push("ful")).toEqual({ text: "\nUseful", stopped: false });
  expect(watch.flush()).toBe("");
});
