/** The text fixtures: tokenizers by the name of their goldens, and templates with their conversations. */
import { readdirSync, readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { StreamCase, TemplateCase, TokenizerCase } from "../../../cli/check/text_goldens.ts";
import { loadTokenizer, type Tokenizer } from "../../../src/text/tokenizer.ts";

const folder = new URL("../../fixtures/", import.meta.url);

export function readText(path: string): string {
  const bytes = readFileSync(new URL(path, folder));
  return (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
}

export const readJson = <T>(path: string): T => JSON.parse(readText(path)) as T;

const FILES = {
  "mixtral-8x7b": ["mixtral-8x7b/tokenizer.json.gz"],
  "mixtral-8x7b-legacy": ["mixtral-8x7b/tokenizer.json.gz", "mixtral-8x7b/legacy.patch.json"],
  "mistral-7b-v0.3": ["mistral-7b-v0.3/tokenizer.json.gz"],
  olmoe: ["olmoe/tokenizer.json.gz"],
  stories260k: ["stories260k/tokenizer.json"],
} as const;

export type TokenizerName = keyof typeof FILES;
export const tokenizerNames = Object.keys(FILES) as TokenizerName[];

export function readTokenizerJson(name: TokenizerName): Record<string, unknown> {
  return Object.assign({}, ...FILES[name].map((file) => readJson<object>(`tokenizers/${file}`)));
}

const opened = new Map<TokenizerName, Tokenizer>();

/** Opened once a test file: a real vocabulary takes a tenth of a second. */
export function openTokenizer(name: TokenizerName): Tokenizer {
  const tokenizer = opened.get(name) ?? loadTokenizer(readTokenizerJson(name), undefined);
  opened.set(name, tokenizer);
  return tokenizer;
}

export const tokenizerCases = (name: TokenizerName) => readJson<TokenizerCase[]>(`tokenizers/goldens/${name}.json`);
export const streamCases = (name: TokenizerName) => readJson<StreamCase[]>(`tokenizers/goldens/${name}.stream.json`);

export const templateNames = readdirSync(new URL("chat_templates/", folder))
  .filter((file) => file.endsWith(".jinja"))
  .map((file) => file.slice(0, -".jinja".length));
export const templateSource = (name: string) => readText(`chat_templates/${name}.jinja`);
export const templateCases = (name: string) => readJson<TemplateCase[]>(`chat_templates/${name}.json`);
