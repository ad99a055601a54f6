import { describe, expect, it } from "vitest";
import { loadChatTemplate } from "../../../src/text/chat_template.ts";
import { loadTokenizer } from "../../../src/text/tokenizer.ts";
import { openTokenizer, readJson, readTokenizerJson, templateSource } from "./fixtures.ts";

const small = readTokenizerJson("stories260k");

describe("a tokenizer", () => {
  it("reads bos and eos from tokenizer_config.json, plain or as added tokens", () => {
    const config = readJson<object>("tokenizers/mixtral-8x7b/tokenizer_config.json");
    expect(loadTokenizer(small, config)).toMatchObject({ bosToken: "<s>", eosToken: "</s>" });
    const added = loadTokenizer(small, { bos_token: null, eos_token: { content: "</s>", lstrip: false } });
    expect(added.bosToken).toBeUndefined();
    expect(added.eosToken).toBe("</s>");
    expect(loadTokenizer(small, undefined)).toMatchObject({ bosToken: undefined, eosToken: undefined });
  });

  it("knows ids by token, and its size with the added tokens", () => {
    expect(openTokenizer("mixtral-8x7b").idOf("</s>")).toBe(2);
    expect(openTokenizer("mixtral-8x7b").idOf("constructor ")).toBeUndefined();
    expect(openTokenizer("mixtral-8x7b").vocabularySize).toBe(32_000);
    expect(openTokenizer("mistral-7b-v0.3").vocabularySize).toBe(32_768);
    expect(openTokenizer("olmoe").idOf("<|endoftext|>")).toBe(50_279);
    expect(openTokenizer("olmoe").vocabularySize).toBe(50_280);
  });

  it("counts, encodes and decodes tokens added after the vocabulary", () => {
    const turn = { id: 600, content: "<turn>", special: false };
    const tokenizer = loadTokenizer({ ...small, added_tokens: [turn] }, undefined);
    expect(tokenizer.vocabularySize).toBe(601);
    const ids = tokenizer.encode("a<turn>", { addSpecialTokens: false });
    expect(ids.at(-1)).toBe(600);
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe("a<turn>");
  });

  it("decodes nothing to nothing, and skips ids it does not know", () => {
    const tokenizer = openTokenizer("stories260k");
    const skip = { skipSpecialTokens: false };
    expect(tokenizer.decode([], skip)).toBe("");
    const ids = tokenizer.encode("Once upon a time", { addSpecialTokens: false });
    expect(tokenizer.decode([9999, ...ids.flatMap((id) => [id, -1])], skip)).toBe("Once upon a time");
  });

  it("loads files that leave out the optional parts", () => {
    const { model, decoder } = small;
    const bare = loadTokenizer({ model, decoder }, undefined);
    expect(bare.decode(bare.encode("a", { addSpecialTokens: true }), { skipSpecialTokens: true })).toBe("a");
  });

  it("loads Unigram vocabularies and the Metaspace decoder", () => {
    const vocab = [
      ["<unk>", 0],
      ["▁", -3],
      ["▁hello", -1],
      ["▁world", -1.5],
      ["s", -2],
    ];
    const spaces = { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true };
    const json = { model: { type: "Unigram", unk_id: 0, vocab }, pre_tokenizer: spaces, decoder: spaces };
    const tokenizer = loadTokenizer(json, undefined);
    const ids = tokenizer.encode("hello worlds", { addSpecialTokens: false });
    expect(ids).toEqual([2, 3, 4]);
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe("hello worlds");
    expect(tokenizer.vocabularySize).toBe(5);
  });

  it("gives mistral-common's ids for a whole conversation, in both forms of Mixtral's file", () => {
    type Sample = { messages: { role: string; content: string }[]; ids: number[] };
    const { messages, ids } = readJson<Sample>("tokenizers/mixtral-8x7b/conversation.json");
    const source = templateSource("mixtral-instruct");
    const tokens = { bosToken: "<s>", eosToken: "</s>" };
    const text = loadChatTemplate(source, tokens).render(messages, { addGenerationPrompt: true });
    const plain = { addSpecialTokens: false };
    expect(openTokenizer("mixtral-8x7b").encode(text, plain)).toEqual(ids);
    expect(openTokenizer("mixtral-8x7b-legacy").encode(text.replaceAll("> [INST]", ">[INST]"), plain)).toEqual(ids);
  });
});

describe("a bad tokenizer is refused with what is wrong:", () => {
  const model = small.model as Record<string, unknown>;
  const bpe = (change: object) => ({ ...small, model: { ...model, ...change } });
  it.each([
    ["no object", [], "not a JSON object"],
    ["null", null, "not a JSON object"],
    ["a page of text", "<!doctype html>", "not a JSON object"],
    ["no model", { ...small, model: undefined }, 'no "model"'],
    ["another kind of model", bpe({ type: "WordPiece" }), "WordPiece is not supported"],
    ["no vocabulary", bpe({ vocab: null }), "no vocabulary"],
    ["no merges", bpe({ merges: undefined }), '"merges"'],
    ["merges that are no pairs", bpe({ merges: ["ab"] }), '"merges"'],
    ["a negative id", bpe({ vocab: { a: -1 } }), 'token "a" has the id -1'],
    ["a huge id", bpe({ vocab: { a: 2 ** 40 } }), 'token "a" has the id 1099511627776'],
    ["an id that is a text", bpe({ vocab: { a: "1" } }), 'token "a"'],
    ["an empty vocabulary", { ...bpe({ vocab: {}, merges: [] }), added_tokens: [] }, "vocabulary is empty"],
    ["added tokens that are no list", { ...small, added_tokens: {} }, '"added_tokens"'],
    ["an added token without content", { ...small, added_tokens: [{ id: 3 }] }, "no content"],
    ["an added token without an id", { ...small, added_tokens: [{ content: "x" }] }, 'token "x"'],
    ["a pre-tokenizer nobody knows", { ...small, pre_tokenizer: { type: "Magic" } }, "cannot be used"],
    ["no decoder", { ...small, decoder: null }, "decoder has no type"],
    ["a decoder of BERT's", { ...small, decoder: { type: "WordPiece" } }, "WordPiece"],
    ["a Strip before the Fuse", { ...small, decoder: { type: "Strip", content: " ", start: 1, stop: 0 } }, "Strip"],
    ["a Unigram entry without a score", { ...small, model: { type: "Unigram", vocab: [["a"]] } }, "entry 0"],
  ])("%s", (_, json, message) => {
    expect(() => loadTokenizer(json, undefined)).toThrow(
      expect.objectContaining({ code: "bad-tokenizer", message: expect.stringContaining(message) }),
    );
  });

  it("a post-processor whose mistake shows at the first text", () => {
    const processor = { type: "TemplateProcessing", single: [17], pair: [] };
    const tokenizer = loadTokenizer({ ...small, post_processor: processor }, undefined);
    expect(() => tokenizer.encode("hello", { addSpecialTokens: true })).toThrow(
      expect.objectContaining({ code: "bad-tokenizer", message: expect.stringContaining("cannot be used") }),
    );
  });

  it.each([
    ["a list", [], "tokenizer_config.json: it is not a JSON object"],
    ["null", null, "tokenizer_config.json: it is not a JSON object"],
    ["a numeric token", { eos_token: 2 }, '"eos_token"'],
  ])("a tokenizer_config.json that is %s", (_, config, message) => {
    expect(() => loadTokenizer(small, config)).toThrow(
      expect.objectContaining({ code: "bad-tokenizer", message: expect.stringContaining(message) }),
    );
  });
});
