/**
 * Turns text into token ids and back, as a tokenizer.json says. Hugging Face's package encodes; our
 * own detokenizer.ts decodes.
 */
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { MixtabError } from "../base/errors.ts";
import { excerpt, quote } from "../base/quote.ts";
import { type DecodingMode, type Detokenizer, parseDecoder } from "./detokenizer.ts";

/** Text to token ids and back. */
export interface Tokenizer {
  /**
   * The ids of a text, which may contain special tokens. `addSpecialTokens` adds those that the
   * model wants around a text, such as `<s>` before it.
   */
  encode(text: string, options: { readonly addSpecialTokens: boolean }): number[];
  /** The text of ids. Ids that the vocabulary lacks are skipped. */
  decode(ids: readonly number[], options: { readonly skipSpecialTokens: boolean }): string;
  /** Decodes ids as they arrive. */
  stream(options: { readonly skipSpecialTokens: boolean }): Detokenizer;
  idOf(token: string): number | undefined;
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  /** The largest id + 1. The model's own vocabulary size may be larger, because of padding. */
  readonly vocabularySize: number;
}

/**
 * Reads a parsed tokenizer.json and, where there is one, its tokenizer_config.json.
 * @throws MixtabError bad-tokenizer, saying what is wrong with which file.
 */
export function loadTokenizer(tokenizerJson: unknown, tokenizerConfig: unknown | undefined): Tokenizer {
  const file = checkTokenizer(tokenizerJson);
  const config = checkConfig(tokenizerConfig);
  const bosToken = tokenText(config, "bos_token");
  const eosToken = tokenText(config, "eos_token");
  const startDecoding = parseDecoder(file.decoder);
  const special = new Set(file.added_tokens.filter((token) => token.special === true).map((token) => token.id));
  const inner = openPackage(file, eosToken);

  const start = (mode: DecodingMode, skipSpecialTokens: boolean): Detokenizer => {
    const decoding = startDecoding(mode);
    return {
      push: (id) => {
        const token = skipSpecialTokens && special.has(id) ? undefined : inner.id_to_token(id);
        return token === undefined ? "" : decoding.push(token);
      },
      flush: () => decoding.flush(),
    };
  };

  return {
    encode: (text, { addSpecialTokens }) =>
      usable(() => inner.encode(text, { add_special_tokens: addSpecialTokens }).ids),
    decode: (ids, { skipSpecialTokens }) => {
      const whole = start("whole", skipSpecialTokens);
      return ids.map((id) => whole.push(id)).join("") + whole.flush();
    },
    stream: ({ skipSpecialTokens }) => start("live", skipSpecialTokens),
    idOf: (token) => inner.token_to_id(token),
    bosToken,
    eosToken,
    vocabularySize: file.vocabularySize,
  };
}

/**
 * Sixteen times the largest published vocabulary (262,144). An id beyond this is a mistake in the
 * file.
 */
const MAX_VOCABULARY = 1 << 22;

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: unknown;
}

interface TokenizerFile {
  readonly model: object;
  readonly decoder: unknown;
  readonly added_tokens: readonly AddedToken[];
  readonly vocabularySize: number;
}

type Fields = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function bad(file: "tokenizer.json" | "tokenizer_config.json", what: string, cause?: unknown): MixtabError {
  const next = "Download the file again, or save it anew with the save_pretrained() of transformers.";
  return new MixtabError("bad-tokenizer", `${file}: ${what}. ${next}`, cause);
}

/**
 * Checks what the package relies on without checking it, and fills in what older files leave out.
 */
function checkTokenizer(json: unknown): TokenizerFile {
  if (!isObject(json)) throw bad("tokenizer.json", "it is not a JSON object");
  const { model, added_tokens: added = [] } = json;
  if (!isObject(model)) throw bad("tokenizer.json", 'it has no "model"');
  const ids = vocabularyIds(model);
  if (!Array.isArray(added)) throw bad("tokenizer.json", '"added_tokens" is not a list');
  for (const token of added as unknown[]) {
    if (!isObject(token) || typeof token.content !== "string") {
      throw bad("tokenizer.json", "an added token has no content");
    }
    ids.push(checkId(token.id, token.content));
  }
  if (ids.length === 0) throw bad("tokenizer.json", "its vocabulary is empty");
  const vocabularySize = ids.reduce((most, id) => Math.max(most, id), 0) + 1;
  const defaults = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  return { ...defaults, ...json, model, decoder: json.decoder, added_tokens: added as AddedToken[], vocabularySize };
}

function vocabularyIds({ type, vocab, merges }: Fields): number[] {
  if (Array.isArray(vocab) && (type === "Unigram" || type === undefined)) {
    vocab.forEach((entry: unknown, id) => {
      const [token, score] = Array.isArray(entry) ? (entry as unknown[]) : [];
      if (typeof token !== "string" || typeof score !== "number") {
        throw bad("tokenizer.json", `entry ${id} of the vocabulary is not a token with a score`);
      }
      checkId(id, token);
    });
    return vocab.map((_, id) => id);
  }
  if (type !== "BPE" && type !== undefined) {
    throw bad(
      "tokenizer.json",
      `a model of type ${typeof type === "string" ? excerpt(type) : quote(type)} is not supported, only BPE and Unigram`,
    );
  }
  if (!isObject(vocab)) throw bad("tokenizer.json", "its model has no vocabulary");
  if (!Array.isArray(merges) || !merges.every(isMerge)) {
    throw bad("tokenizer.json", 'the "merges" of its model are not a list of pairs');
  }
  return Object.entries(vocab).map(([token, id]) => checkId(id, token));
}

/** Whether `merge` is a merge of two tokens: `"a b"`, or in newer files `["a", "b"]`. */
function isMerge(merge: unknown): boolean {
  if (typeof merge === "string") return merge.includes(" ");
  return Array.isArray(merge) && merge.length === 2 && merge.every((half) => typeof half === "string");
}

function checkId(id: unknown, token: string): number {
  if (Number.isInteger(id) && (id as number) >= 0 && (id as number) < MAX_VOCABULARY) return id as number;
  throw bad(
    "tokenizer.json",
    `token ${quote(token)} has the id ${quote(id)}, not a whole number below ${MAX_VOCABULARY}`,
  );
}

function checkConfig(config: unknown): Fields {
  if (config === undefined) return {};
  if (!isObject(config)) throw bad("tokenizer_config.json", "it is not a JSON object");
  return config;
}

/**
 * The text of a special token, which the file gives as `"<s>"` or `{ "content": "<s>", ... }`;
 * undefined if it gives null or nothing.
 */
function tokenText(config: Fields, name: "bos_token" | "eos_token"): string | undefined {
  const token = config[name] ?? undefined;
  const text = isObject(token) ? token.content : token;
  if (text === undefined || typeof text === "string") return text;
  throw bad("tokenizer_config.json", `"${name}" is neither a text nor a token with "content"`);
}

/**
 * Opens the file with Hugging Face's package. Of tokenizer_config.json the package gets only what
 * tokenizer.json does not say. The clean-up of spaces is switched off here, because the package
 * does it if the setting is absent.
 */
function openPackage(file: TokenizerFile, eosToken: string | undefined): HuggingFaceTokenizer {
  return usable(() => new HuggingFaceTokenizer(file, { eos_token: eosToken, clean_up_tokenization_spaces: false }));
}

/** Calls the package, which finds some mistakes of a file only when it encodes a text. */
function usable<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw bad("tokenizer.json", `it cannot be used (${excerpt(what)})`, error);
  }
}
