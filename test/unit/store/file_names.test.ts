import fc from "fast-check";
import { expect, test } from "vitest";
import { fileOf, keyOf } from "../../../src/store/file_names.ts";
import { openTrailer, trailer } from "../../../src/store/trailer.ts";

const RUNS = { seed: 20261124, numRuns: 500 };

const key = fc.oneof(
  fc.string({ unit: "binary", maxLength: 700, size: "max" }),
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 90, size: "max" })
    .map((units) => String.fromCharCode(...units)),
  fc.integer({ min: 0, max: 900 }).map((length) => "k".repeat(length)),
);

test("a key's file has names that every file system takes, and leads back to the key", () => {
  const property = fc.property(key, (text) => {
    const path = fileOf(text);
    for (const name of [...path.folders, path.name]) expect(name).toMatch(/^[a-z0-9_@%+-]{1,201}$/);
    expect(keyOf(path)).toBe(text);
  });
  fc.assert(property, RUNS);
});

test("no key's file is another key's folder, and they differ in more than case", () => {
  const property = fc.property(fc.uniqueArray(key, { minLength: 2, maxLength: 2 }), ([one, other]) => {
    const paths = [one!, other!].map((text) => fileOf(text));
    const [a, b] = paths.map(({ folders, name }) => [...folders, name].join("/").toLowerCase());
    expect(a).not.toBe(b);
    expect(a!.startsWith(`${b}/`) || b!.startsWith(`${a}/`)).toBe(false);
  });
  fc.assert(property, RUNS);
});

test("a trailer says what was put into it, and is not read from less", () => {
  const sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  for (const bytes of [0, 3, 103_809_024, 2 ** 40 + 1])
    expect(openTrailer(trailer(bytes, sha256))).toEqual({ bytes, sha256 });
  expect(() => openTrailer(trailer(3, sha256).slice(1))).toThrow("too short");
});
