import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseDecoder } from "../../../src/text/detokenizer.ts";
import { openTokenizer, readTokenizerJson, type TokenizerName } from "./fixtures.ts";

function streamed(name: TokenizerName, ids: readonly number[], skipSpecialTokens = false): string[] {
  const stream = openTokenizer(name).stream({ skipSpecialTokens });
  return [...ids.map((id) => stream.push(id)), stream.flush()];
}

const hasLoneSurrogate = (text: string) => /\p{Surrogate}/u.test(text);
const utf8 = (text: string) => [...new TextEncoder().encode(text)];

const byteToken = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;

describe("an incremental decoding", () => {
  it("of byte-level tokens is the text decoded at once, whatever the ids", () => {
    const tokenizer = openTokenizer("olmoe");
    fc.assert(
      fc.property(fc.array(fc.nat(50_279), { maxLength: 40, size: "max" }), fc.boolean(), (ids, skipSpecialTokens) => {
        const pieces = streamed("olmoe", ids, skipSpecialTokens);
        expect(pieces.join("")).toBe(tokenizer.decode(ids, { skipSpecialTokens }));
        expect(pieces.some(hasLoneSurrogate)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it("of SentencePiece tokens is the text decoded at once, unless that has U+FFFD", () => {
    const tokenizer = openTokenizer("stories260k");
    const words = fc.nat(511).map((id) => [id]);
    const bytes = fc
      .string({ unit: "binary", minLength: 1, maxLength: 3 })
      .map((text) => utf8(text).map((byte) => tokenizer.idOf(byteToken(byte))!));
    fc.assert(
      fc.property(fc.array(fc.oneof(words, bytes), { maxLength: 20, size: "max" }), (parts) => {
        const ids = parts.flat();
        const pieces = streamed("stories260k", ids);
        const whole = tokenizer.decode(ids, { skipSpecialTokens: false });
        if (!whole.includes("\ufffd")) expect(pieces.join("")).toBe(whole);
        expect(pieces.some(hasLoneSurrogate)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it("shows each character of a run of bytes with its last byte", () => {
    const text = "é€𒀀\ufeffz\0";
    const expected = [...text].flatMap((character) => [
      ...utf8(character)
        .slice(1)
        .map(() => ""),
      character,
    ]);
    const bytes = utf8(text);
    const fallback = parseDecoder({ type: "ByteFallback" })("live");
    expect(bytes.map((byte) => fallback.push(byteToken(byte)))).toEqual(expected);
    const olmoe = openTokenizer("olmoe");
    const alphabet = (byte: number) => {
      const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
      const others = [...Array(256).keys()].filter((b) => b < 33 || (b > 126 && b < 161) || b === 173);
      return String.fromCharCode(printable ? byte : 256 + others.indexOf(byte));
    };
    const ids = bytes.map((byte) => olmoe.idOf(alphabet(byte))!);
    expect(streamed("olmoe", ids)).toEqual([...expected, ""]);
  });

  it("makes one U+FFFD per byte of a bad run at once, and live keeps what it has shown", () => {
    const start = parseDecoder({ type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] });
    const tokens = [0xe2, 0x82, 0xac, 0xff, 0x41].map(byteToken);
    const whole = start("whole");
    expect(tokens.map((token) => whole.push(token)).join("") + whole.push(".")).toBe(`${"\ufffd".repeat(5)}.`);
    const live = start("live");
    expect(tokens.map((token) => live.push(token))).toEqual(["", "", "€", "\ufffd", "\ufffd"]);
    expect(live.push("<0x41")).toBe("<0x41");
    expect(live.push(byteToken(0x41))).toBe("A");
  });

  it("drops the leading space of the whole text, once", () => {
    const start = parseDecoder(readTokenizerJson("stories260k").decoder);
    const decoding = start("live");
    expect(["", "▁", "▁▁a", "▁b"].map((token) => decoding.push(token))).toEqual(["", "", "  a", " b"]);
  });

  it("takes an added token with other characters as text, also beside broken bytes", () => {
    const decoding = parseDecoder({ type: "ByteLevel" })("live");
    expect(["âĤ", "<｜end▁of▁text｜>", "Ġa"].map((token) => decoding.push(token))).toEqual([
      "",
      "\ufffd<｜end▁of▁text｜>",
      " a",
    ]);
  });

  it("costs the same per token however long the text is", () => {
    // Decoding everything again on each push would be 4e10 steps.
    const ids = openTokenizer("stories260k").encode("Once upon a time, 你好. ", { addSpecialTokens: false });
    const stream = openTokenizer("stories260k").stream({ skipSpecialTokens: true });
    const started = performance.now();
    let length = 0;
    for (let i = 0; i < 200_000; i += 1) length += stream.push(ids[i % ids.length]!).length;
    expect(length).toBeGreaterThan(100_000);
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});

describe("a decoder", () => {
  it.each([
    ["a Replace by a regular expression", { type: "Replace", pattern: { Regex: "a" }, content: "" }],
    [
      "a Strip at the end",
      { type: "Sequence", decoders: [{ type: "Fuse" }, { type: "Strip", content: " ", start: 0, stop: 1 }] },
    ],
    [
      "a Strip of a million",
      { type: "Sequence", decoders: [{ type: "Fuse" }, { type: "Strip", content: " ", start: 1e6, stop: 0 }] },
    ],
    ["an empty sequence", { type: "Sequence", decoders: [] }],
    ["a CTC decoder", { type: "CTC" }],
  ])("with %s is refused", (_, decoder) => {
    expect(() => parseDecoder(decoder)).toThrow(expect.objectContaining({ code: "bad-tokenizer" }));
  });
});
