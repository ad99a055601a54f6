import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { headerBytes, parseSafetensorsHeader } from "../../../src/format/safetensors.ts";
import { fixture, fixtureJson } from "./fixture.ts";

interface Expected {
  readonly expect: "ok" | "error";
  readonly why: string;
  readonly kind?: string;
  readonly tensors?: Record<string, { dtype: string; shape: number[]; data_hex: string }>;
}

const { files } = fixtureJson("safetensors_malformed/expected.json") as { files: Record<string, Expected> };

/** What the message of each kind of refusal must speak of. */
const SPEAKS_OF: Record<string, RegExp> = {
  length: /header length/,
  json: /JSON/,
  "utf-8": /UTF-8/,
  offsets: /data_offsets/,
  dtype: /dtype/,
  shape: /shape/,
  duplicate: /duplicate key/,
  metadata: /__metadata__/,
};

const utf8 = new TextEncoder();
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** A file of this header text and `dataBytes` zeros. */
function fileOf(header: string, dataBytes: number): Uint8Array {
  const text = utf8.encode(header);
  const file = new Uint8Array(8 + text.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

const parse = (file: Uint8Array) => parseSafetensorsHeader(file, file.length);

describe("the malformed files", () => {
  for (const [name, expected] of Object.entries(files)) {
    const file = fixture(`safetensors_malformed/${name}`);
    if (expected.expect === "error")
      it(`${name} is refused: ${expected.why}`, () => {
        const message = SPEAKS_OF[expected.kind!]!;
        expect(() => parse(file)).toThrow(expect.objectContaining({ code: "bad-safetensors" }));
        expect(() => parse(file)).toThrow(message);
      });
    else
      it(`${name} loads: ${expected.why}`, () => {
        const { tensors } = parse(file);
        const read = [...tensors].map(([tensor, { dtype, shape, begin, end }]) => [
          tensor,
          { dtype, shape, data_hex: hex(file.subarray(begin, end)) },
        ]);
        expect(Object.fromEntries(read)).toEqual(expected.tensors);
      });
  }
});

describe("a header", () => {
  const entry = (begin: number, end: number, more = "") =>
    `{"dtype":"U8","shape":[${end - begin}],"data_offsets":[${begin},${end}]${more}}`;

  it("names the tensor that is wrong, and what to do", () => {
    const file = fixture("safetensors_malformed/offsets_overlap.safetensors");
    expect(() => parse(file)).toThrow(/tensor "b".*fetch it again/);
  });

  it.each([
    ["a duplicate key within a tensor", `{"a":${entry(0, 2, ',"dtype":"I8"')}}`, /duplicate key, "dtype"/],
    ["a duplicate key written in escapes", `{"a":${entry(0, 2)},"\\u0061":${entry(0, 2)}}`, /duplicate key, "a"/],
    ["a duplicate key in __metadata__", `{"__metadata__":{"x":"1","x":"2"},"a":${entry(0, 2)}}`, /duplicate key, "x"/],
    [
      "a duplicate key after an escaped quote",
      `{"__metadata__":{"x":"\\""},"a":${entry(0, 2)},"a":${entry(0, 2)}}`,
      /duplicate key, "a"/,
    ],
    [
      "more elements than a double counts",
      '{"a":{"dtype":"U8","shape":[9007199254740991,2],"data_offsets":[0,2]}}',
      /more elements than can be counted/,
    ],
    ["a duplicate key with space before its colon", `{"a" :${entry(0, 2)},"a" : ${entry(0, 2)}}`, /duplicate key, "a"/],
    ["bytes at the end that belong to no tensor", `{"a":${entry(0, 1)}}`, /data_offsets end 1 bytes before/],
    ["an inherited name as dtype", '{"a":{"dtype":"constructor","shape":[2],"data_offsets":[0,2]}}', /dtype/],
    ["a fractional offset", '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0.5,2]}}', /data_offsets/],
    ["offsets in the wrong order", '{"a":{"dtype":"U8","shape":[0],"data_offsets":[2,0]}}', /data_offsets/],
    ["one offset", '{"a":{"dtype":"U8","shape":[2],"data_offsets":[2]}}', /data_offsets/],
    ["no shape", '{"a":{"dtype":"U8","data_offsets":[0,2]}}', /shape/],
    ["too many dimensions", `{"a":{"dtype":"U8","shape":[2${",1".repeat(16)}],"data_offsets":[0,2]}}`, /shape/],
    ["an entry that is no object", '{"a":[0,2]}', /not an object/],
    ["half a byte", '{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}', /shape \[3\] in F4 takes 1.5 bytes/],
    ["a byte order mark", `\ufeff{"a":${entry(0, 2)}}`, /begins with/],
    ["an array", "[]", /begins with/],
  ])("is refused for %s", (_, header, message) => {
    expect(() => parse(fileOf(header, 2))).toThrow(message);
  });

  it.each([
    ["braces, quotes and colons in names", `{"{\\"a\\":[":${entry(0, 1)},"a\\\\":${entry(1, 2)}}`, ['{"a":[', "a\\"]],
    ["the same strings as values and in other objects", `{"__metadata__":{"a":"a","b":"a"},"a":${entry(0, 2)}}`, ["a"]],
    ["a name like a built-in property", `{"__proto__":${entry(0, 2)}}`, ["__proto__"]],
    ["padding at its end", `{"a":${entry(0, 2)}}     `, ["a"]],
    ["4-bit elements", '{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}', ["a"]],
  ])("may have %s", (_, header, names) => {
    expect([...parse(fileOf(header, 2)).tensors.keys()]).toEqual(names);
  });

  it("gives its metadata", () => {
    const { metadata } = parse(fileOf('{"__metadata__":{"format":"pt"}}', 0));
    expect([...metadata]).toEqual([["format", "pt"]]);
  });

  it("says how many bytes it takes, and refuses a file too short to say", () => {
    const file = fixture("safetensors_malformed/valid_control.safetensors");
    expect(headerBytes(file.subarray(0, 8), file.length)).toBe(parse(file).tensors.get("a")!.begin);
    expect(() => headerBytes(new Uint8Array(3), 3)).toThrow(/3 bytes, too few/);
    const long = new Uint8Array(new BigUint64Array([100_000_001n]).buffer);
    expect(() => headerBytes(long, 1e12)).toThrow(/header length is 100000001, more than/);
  });

  it("of any valid tensors gives back their types, shapes and bytes, in any order and at odd addresses", () => {
    const sizes = { U8: 1, F16: 2, U32: 4, F64: 8 } as const;
    const tensor = fc.record({
      dtype: fc.constantFrom(...(Object.keys(sizes) as (keyof typeof sizes)[])),
      shape: fc.array(fc.nat(5), { maxLength: 4 }),
    });
    const named = fc.uniqueArray(fc.tuple(fc.string({ unit: "binary" }), tensor, fc.nat()), {
      selector: ([name]) => name,
      maxLength: 8,
    });
    fc.assert(
      fc.property(named, fc.nat(7), (all, padding) => {
        const tensors = all.filter(([name]) => name !== "__metadata__");
        let at = 0;
        const placed = tensors.map(([name, { dtype, shape }, order]) => {
          const bytes = shape.reduce((product, size) => product * size, sizes[dtype]);
          const offsets = [at, at + bytes];
          at += bytes;
          return { name, order, value: { dtype, shape, data_offsets: offsets } };
        });
        placed.sort((a, b) => a.order - b.order); // the header is in another order than the data
        const text = `{${placed.map(({ name, value }) => `${JSON.stringify(name)}:${JSON.stringify(value)}`)}}${" ".repeat(padding)}`;
        const file = fileOf(text, at);
        const begin = file.length - at;
        const wanted = placed.map(({ name, value: { dtype, shape, data_offsets } }) => [
          name,
          { dtype, shape, begin: begin + data_offsets[0]!, end: begin + data_offsets[1]! },
        ]);
        const read = parse(file).tensors;
        expect(read.size).toBe(wanted.length);
        for (const [name, entry] of wanted) expect(read.get(name as string)).toEqual(entry);
      }),
      { numRuns: 300 },
    );
  });

  it("never gives anything but tensors within the file or bad-safetensors, whatever byte is changed", () => {
    const valid = fixture("safetensors_malformed/valid_control.safetensors");
    fc.assert(
      fc.property(fc.nat(valid.length - 1), fc.nat(255), (at, byte) => {
        const file = valid.slice();
        file[at] = byte;
        try {
          for (const { begin, end } of parse(file).tensors.values())
            expect(begin <= end && end <= file.length).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ code: "bad-safetensors" });
        }
      }),
      { numRuns: 2000 },
    );
  });
});
