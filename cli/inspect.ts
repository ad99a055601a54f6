/**
 * `npm run inspect -- MODEL [--budget 2GB] [--quantize auto|mlx|false]`: prints what a model
 * consists of and what a budget buys, without loading its weights. MODEL is a folder, a URL, a Hub
 * repository, or a single config.json; for the last, sizes are those of the weights that it claims.
 */
import { existsSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { parseArgs } from "node:util";
import { MixtabError } from "../src/base/errors.ts";
import { recipeOf } from "../src/engine/arrival.ts";
import { openRepository } from "../src/engine/repository.ts";
import { directorySource } from "../src/source/directory.ts";
import { httpSource } from "../src/source/http.ts";
import type { Source } from "../src/source/source.ts";
import { claimedCheckpoint } from "./claimed_checkpoint.ts";
import { type Described, describe } from "./description.ts";
import { openArgument } from "./model_argument.ts";
import { parseBytes, parseQuantize, runCommand } from "./shell.ts";

await runCommand(async (args) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { budget: { type: "string", default: "2GB" }, quantize: { type: "string", default: "auto" } },
  });
  const [argument] = positionals;
  if (argument === undefined || positionals.length !== 1)
    throw new MixtabError(
      "bad-request",
      "npm run inspect -- MODEL_OR_CONFIG_JSON [--budget 2GB] [--quantize auto|mlx|false]",
    );
  const wish = { recipe: recipeOf(parseQuantize(values.quantize)), budgetBytes: parseBytes(values.budget) };
  console.log(`${"model".padEnd(20)} ${argument}`);
  for (const [name, value] of describe(await open(argument), wish)) console.log(`${name.padEnd(20)} ${value}`);
  return 0;
});

async function open(argument: string): Promise<Described> {
  const bare = bareConfig(argument);
  if (!bare) {
    const { source } = openArgument(argument);
    return { ...(await openRepository(source, null, "")), source };
  }
  const text = await bare.source.text(bare.file);
  if (text === undefined) throw new MixtabError("not-found", `There is no ${argument}.`);
  const config = parse(argument, text);
  return { config, checkpoint: claimedCheckpoint(config), source: bare.source };
}

/**
 * The source and the name of a single config.json: a file, or a URL that ends in `.json`. undefined
 * if the argument is neither.
 */
function bareConfig(argument: string): { readonly source: Source; readonly file: string } | undefined {
  if (existsSync(argument))
    return statSync(argument).isFile()
      ? { source: directorySource(dirname(argument)), file: basename(argument) }
      : undefined;
  if (!/^https?:.*\.json$/.test(argument)) return undefined;
  return { source: httpSource(new URL(".", argument).href), file: basename(new URL(argument).pathname) };
}

function parse(name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MixtabError("bad-json", `${name} is not JSON. Name a model's config.json, or its folder.`, cause);
  }
}
