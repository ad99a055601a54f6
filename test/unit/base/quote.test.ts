import { describe, expect, it } from "vitest";
import { excerpt, quote } from "../../../src/base/quote.ts";
import { readRequest } from "../../../src/engine/request.ts";
import { openCheckpoint } from "../../../src/format/checkpoint.ts";
import { readClaims } from "../../../src/format/quantization_config.ts";
import { parseSafetensorsHeader } from "../../../src/format/safetensors.ts";
import { readModel } from "../../../src/models/index.ts";
import { givenFiles } from "../../../src/source/given_files.ts";
import { resolveModel } from "../../../src/source/hub.ts";
import { openFiles } from "../../../src/source/open_model.ts";
import { loadChatTemplate, pickChatTemplate } from "../../../src/text/chat_template.ts";
import { loadTokenizer } from "../../../src/text/tokenizer.ts";

describe("quote", () => {
  it("shows short values as JSON, texts as they stand", () => {
    expect(quote({ a: [1, "é"] })).toBe('{"a":[1,"é"]}');
    expect(quote(undefined)).toBe("undefined");
    expect(excerpt('a "b"')).toBe('a "b"');
    expect(excerpt("x".repeat(200))).toBe("x".repeat(200));
  });

  it("cuts long ones to 200 characters, and no character in half", () => {
    expect(excerpt("x".repeat(201))).toBe(`${"x".repeat(199)}…`);
    expect(quote("x".repeat(1e6)).length).toBe(200);
    expect(excerpt(`${"x".repeat(198)}😀😀`)).toBe(`${"x".repeat(198)}…`);
  });

  it("has words for what JSON cannot show", () => {
    const deep = JSON.parse("[".repeat(1e5) + "]".repeat(1e5)) as unknown;
    expect(quote(deep)).toMatch(/^(\[+…|a value that cannot be shown)$/);
    expect(quote(1n)).toBe("a value that cannot be shown");
  });
});

const LONG = "x".repeat(100_000);
const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const header = (value: unknown) => {
  const bytes = json(value);
  const head = new Uint8Array(8 + bytes.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(bytes.length), true);
  head.set(bytes, 8);
  return head;
};
const parse = (value: unknown) => {
  const head = header(value);
  parseSafetensorsHeader(head, head.length);
};
const tensor = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
const mixtral = { model_type: "mixtral", vocab_size: 8, hidden_size: 32 };
const tokenizer = { model: { type: "BPE", vocab: { a: 0 }, merges: [] }, decoder: { type: "ByteLevel" } };
const ask = (more: object) => readRequest({ messages: [{ role: "user", content: "a" }], ...more } as never, {});

const text = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));

const complaints: readonly (readonly [string, (value: unknown) => unknown])[] = [
  ["model_type", (value) => readModel({ model_type: value })],
  ["a number of config.json", (value) => readModel({ ...mixtral, num_hidden_layers: value })],
  ["rope_scaling", (value) => readModel({ ...mixtral, rope_scaling: { type: value } })],
  ["hidden_act", (value) => readModel({ ...mixtral, hidden_act: value })],
  ["quant_method", (value) => readClaims({ quantization: { quant_method: value } })],
  ["a tensor's name", (value) => parse({ [text(value)]: 1 })],
  ["a tensor's dtype", (value) => parse({ a: { ...tensor, dtype: value } })],
  ["metadata", (value) => parse({ __metadata__: { [text(value)]: 1 } })],
  [
    "names of tensors that are there instead",
    (value) => {
      const entry = { dtype: "F32", shape: [1], begin: 0, end: 4 } as const;
      const shard = new Map([[`model.${text(value)}`, entry]]);
      openCheckpoint({}, new Map([["a", shard]])).findPlain([{ module: "model.norm" }], 1, 1);
    },
  ],
  [
    "an index",
    (value) =>
      openFiles(
        givenFiles({ "config.json": json({}), "model.safetensors.index.json": json({ weight_map: { a: value } }) }),
      ),
  ],
  ["a model's name", (value) => resolveModel(text(value))],
  ["a tokenizer's type", (value) => loadTokenizer({ ...tokenizer, model: { type: value } }, undefined)],
  ["a token's id", (value) => loadTokenizer({ ...tokenizer, added_tokens: [{ content: "b", id: value }] }, undefined)],
  ["a token", (value) => loadTokenizer({ ...tokenizer, added_tokens: [{ content: text(value), id: -1 }] }, undefined)],
  ["a decoder", (value) => loadTokenizer({ ...tokenizer, decoder: { type: text(value) } }, undefined)],
  [
    "a Strip",
    (value) =>
      loadTokenizer(
        {
          ...tokenizer,
          decoder: {
            type: "Sequence",
            decoders: [{ type: "Fuse" }, { type: "Strip", content: " ", start: value, stop: 0 }],
          },
        },
        undefined,
      ),
  ],
  [
    "names of templates",
    (value) => pickChatTemplate({ tokenizerConfig: { chat_template: [{ name: text(value), template: "" }] } }),
  ],
  [
    "a template that fails",
    (value) => loadChatTemplate(`{{ ${text(value)}() }}`, {}).render([{ role: "user" }], { addGenerationPrompt: true }),
  ],
  [
    "a template that refuses",
    (value) =>
      loadChatTemplate("{{ raise_exception(messages[0].content) }}", {}).render([{ role: "user", content: value }], {
        addGenerationPrompt: true,
      }),
  ],
  ["an option", (value) => ask({ [text(value)]: 1 })],
  ["an option's value", (value) => ask({ temperature: value })],
  ["n", (value) => ask({ n: value })],
];

describe.each(complaints)("an error about %s", (_, complain) => {
  it.each([
    ["a long text", LONG],
    ["a long list", new Array(10_000).fill("xx")],
    ["an object that is no text", { toString: 1, long: LONG }],
  ])("is short and has a code: %s", async (_, value) => {
    let error: unknown;
    try {
      await complain(value);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ name: "MixtabError", code: expect.any(String) });
    const { message } = error as Error;
    expect(message.length).toBeLessThan(800);
    expect(message).not.toContain("x".repeat(201));
  });
});
