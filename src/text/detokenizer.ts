/**
 * Turns the texts of tokens into plain text, one token at a time, as the decoder of a
 * tokenizer.json says. Earlier tokens are not decoded again.
 */
import { MixtabError } from "../base/errors.ts";
import { excerpt, quote } from "../base/quote.ts";

/**
 * Decodes ids as they arrive. A character is returned as a whole, with the id that has its last
 * byte.
 */
export interface Detokenizer {
  /**
   * The text that this id completes. It is often "": an emoji of four byte tokens gives "" three
   * times, and then the emoji.
   */
  push(id: number): string;
  /** The rest at the end of the text: bytes that never became a character, as U+FFFD. */
  flush(): string;
}

/**
 * Does the same as Detokenizer with the texts of tokens as they stand in the vocabulary, such as
 * `Ġthe` or `▁the`.
 */
export interface TokenDecoder {
  push(token: string): string;
  flush(): string;
}

/**
 * "live" shows a character as soon as its bytes are there. "whole" waits for the end of a run of
 * `<0xNN>` tokens, as the `tokenizers` library does when it has all ids: one stray byte turns every
 * byte of its run into U+FFFD.
 */
export type DecodingMode = "live" | "whole";

/**
 * Reads the `decoder` entry of a tokenizer.json and returns a function that starts a decoding.
 * @throws MixtabError bad-tokenizer for a decoder that is neither byte-level nor of SentencePiece's
 * kind.
 */
export function parseDecoder(decoder: unknown): (mode: DecodingMode) => TokenDecoder {
  const steps = flatten(decoder);
  if (steps.length === 1 && steps[0]?.type === "ByteLevel") return () => new ByteLevelDecoder();
  const plan: DecoderPlan = { replacements: [], byteFallback: false, strip: undefined };
  let fused = false;
  for (const step of steps) addStep(step);
  return (mode) => new SentencePieceDecoder(plan, mode);

  function addStep(step: DecoderStep): void {
    if (step.type === "Replace" && !fused) plan.replacements.push(replacement(step));
    else if (step.type === "ByteFallback" && !fused) plan.byteFallback = true;
    else if (step.type === "Fuse") fused = true;
    else if (step.type === "Strip" && fused && !plan.strip) plan.strip = strip(step);
    else if (step.type === "Metaspace" && steps.length === 1) {
      const space = typeof step.replacement === "string" ? step.replacement : "▁";
      plan.replacements.push({ from: space, to: " " });
      const prepends = step.prepend_scheme !== "never" && step.add_prefix_space !== false;
      if (prepends) plan.strip = { content: " ", count: 1 };
    } else throw unsupported(`a ${excerpt(step.type)} step at this place`);
  }
}

interface DecoderStep {
  readonly type: string;
  readonly [field: string]: unknown;
}

interface DecoderPlan {
  readonly replacements: { readonly from: string; readonly to: string }[];
  byteFallback: boolean;
  /** `content` is dropped from the start of the whole text, at most `count` times. */
  strip: { readonly content: string; readonly count: number } | undefined;
}

/**
 * The largest count that a Strip may have. A prefix has rarely more than one space; a larger count
 * is a mistake in the file.
 */
const MAX_STRIP = 64;

function unsupported(what: string): MixtabError {
  return new MixtabError(
    "bad-tokenizer",
    `tokenizer.json: the decoder has ${what}, which mixtab does not know. It reads ByteLevel decoders, and sequences of Replace, ByteFallback, Fuse and Strip.`,
  );
}

function flatten(decoder: unknown): DecoderStep[] {
  if (typeof decoder !== "object" || decoder === null) throw unsupported("no type");
  const step = decoder as { readonly type?: unknown; readonly decoders?: unknown };
  if (typeof step.type !== "string") throw unsupported("no type");
  if (step.type !== "Sequence") return [step as DecoderStep];
  if (!Array.isArray(step.decoders) || step.decoders.length === 0) throw unsupported("an empty Sequence");
  return step.decoders.flatMap(flatten);
}

function replacement({ pattern, content }: DecoderStep): { from: string; to: string } {
  const from = (pattern as { readonly String?: unknown } | undefined)?.String;
  if (typeof from !== "string" || from === "") throw unsupported("a Replace whose pattern is not a plain String");
  if (typeof content !== "string") throw unsupported("a Replace without content");
  return { from, to: content };
}

function strip({ content, start, stop }: DecoderStep): DecoderPlan["strip"] {
  if (typeof content !== "string" || content === "") throw unsupported("a Strip without content");
  if (!Number.isInteger(start) || (start as number) < 0 || (start as number) > MAX_STRIP) {
    throw unsupported(`a Strip that starts at ${quote(start)}`);
  }
  if (stop !== 0) throw unsupported("a Strip at the end of the text");
  return { content, count: start as number };
}

const REPLACEMENT = "\ufffd";
const lossy = new TextDecoder("utf-8", { ignoreBOM: true });
const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
const encoder = new TextEncoder();

/** Decodes tokens whose characters each stand for one byte of UTF-8, such as `Ġ` for a space. */
class ByteLevelDecoder implements TokenDecoder {
  #pending: number[] = [];

  push(token: string): string {
    const bytes = [...this.#pending, ...byteLevelBytes(token)];
    const known = bytes.length - partialTail(bytes);
    this.#pending = bytes.slice(known);
    return lossy.decode(new Uint8Array(bytes.slice(0, known)));
  }

  flush(): string {
    const text = lossy.decode(new Uint8Array(this.#pending));
    this.#pending = [];
    return text;
  }
}

/**
 * Decodes tokens that are text, in which replacements are made (`▁` becomes a space). Runs of
 * tokens of the form `<0xNN>` are bytes of UTF-8.
 */
class SentencePieceDecoder implements TokenDecoder {
  readonly #plan: DecoderPlan;
  readonly #run: ByteRun;
  #toStrip: number;

  constructor(plan: DecoderPlan, mode: DecodingMode) {
    this.#plan = plan;
    this.#run = new ByteRun(mode);
    this.#toStrip = plan.strip?.count ?? 0;
  }

  push(token: string): string {
    let text = token;
    for (const { from, to } of this.#plan.replacements) text = text.replaceAll(from, to);
    const byte = this.#plan.byteFallback ? /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1] : undefined;
    if (byte !== undefined) return this.#strip(this.#run.push(Number.parseInt(byte, 16)));
    return this.#strip(this.#run.end() + text);
  }

  flush(): string {
    return this.#strip(this.#run.end());
  }

  #strip(text: string): string {
    const content = this.#plan.strip?.content;
    if (content === undefined || this.#toStrip === 0) return text;
    let rest = text;
    for (; this.#toStrip > 0 && rest.startsWith(content); this.#toStrip -= 1) rest = rest.slice(content.length);
    if (rest !== "") this.#toStrip = 0;
    return rest;
  }
}

/**
 * Decodes consecutive byte tokens. In a run that is not UTF-8 each byte becomes U+FFFD; in mode
 * "live" the characters that were shown before stay.
 */
class ByteRun {
  readonly #mode: DecodingMode;
  #bytes: number[] = [];
  #broken = false;

  constructor(mode: DecodingMode) {
    this.#mode = mode;
  }

  push(byte: number): string {
    if (this.#broken) return REPLACEMENT;
    this.#bytes.push(byte);
    const waits = this.#mode === "whole" || partialTail(this.#bytes) === this.#bytes.length;
    return waits ? "" : this.#take();
  }

  end(): string {
    const text = this.#take();
    this.#broken = false;
    return text;
  }

  #take(): string {
    const bytes = this.#bytes;
    this.#bytes = [];
    try {
      return strict.decode(new Uint8Array(bytes));
    } catch {
      this.#broken = true;
      return REPLACEMENT.repeat(bytes.length);
    }
  }
}

/** How many bytes at the end begin a character without finishing it, 0 to 3. */
function partialTail(bytes: readonly number[]): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back += 1) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) !== 0x80) return sequenceLength(byte) > back ? back : 0;
  }
  return 0;
}

/**
 * The length in bytes of the UTF-8 sequence that begins with this byte (Unicode, table 3-7); 1 for
 * a byte that begins none.
 */
function sequenceLength(lead: number): number {
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 1;
}

/**
 * GPT-2's alphabet. A printable character of Latin-1 stands for the byte of its own number;
 * characters from U+0100 on stand for the other bytes, in ascending order. Example: `Ġ` (U+0120) is
 * a space.
 */
const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = (() => {
  const byteOf = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte += 1) {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    byteOf.set(String.fromCharCode(printable ? byte : next), byte);
    if (!printable) next += 1;
  }
  return byteOf;
})();

/**
 * The bytes of a token. A token with any character outside the alphabet (mostly an added token) is
 * plain text, as in the `tokenizers` library.
 */
function byteLevelBytes(token: string): Iterable<number> {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTE_OF_CHARACTER.get(character);
    if (byte === undefined) return encoder.encode(token);
    bytes.push(byte);
  }
  return bytes;
}
