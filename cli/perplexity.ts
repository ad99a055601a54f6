/**
 * `npm run perplexity -- MODEL TEXT [--quantize auto|mlx|false] [--frugal] [--device cpu|gpu]
 * [--tokens N] [--against unquantised]`: prints how well a model predicts a text (perplexity), and
 * the bytes of its weights. With `--against unquantised` it also prints what quantisation costs:
 * the divergence (KL) per token from the unquantised model, and the share of tokens for which both
 * give the highest probability to the same id. TEXT is a text file, or a golden.json with
 * conversations, whose answers are predicted. `--frugal` quantises a dense model as if it were over
 * 2 GB.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { MixtabError } from "../src/base/errors.ts";
import type { Quantize } from "../src/engine/api.ts";
import { readLanguage } from "../src/engine/language.ts";
import { loadModel } from "../src/engine/load.ts";
import { openRepository } from "../src/engine/repository.ts";
import { readModel } from "../src/models/index.ts";
import { openSpeaker } from "./device.ts";
import { openArgument } from "./model_argument.ts";
import { measure, type Opened, type Text, weigh } from "./perplexity/measure.ts";
import { formatBytes, parseQuantize, readDevice, runCommand, wholeNumber } from "./shell.ts";

const USAGE =
  "npm run perplexity -- MODEL TEXT [--quantize auto|mlx|false] [--frugal] [--device cpu|gpu] [--tokens N] [--against unquantised]";

await runCommand(async (args) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      quantize: { type: "string", default: "auto" },
      device: { type: "string", default: "cpu" },
      tokens: { type: "string", default: "2000" },
      against: { type: "string" },
      frugal: { type: "boolean" },
    },
  });
  const [model, file] = positionals;
  if (model === undefined || file === undefined || positionals.length > 2) throw new MixtabError("bad-request", USAGE);
  if (values.against !== undefined && values.against !== "unquantised")
    throw new MixtabError("bad-request", `--against is unquantised, not ${values.against}.`);
  const device = readDevice(values.device);
  const quantize = parseQuantize(values.quantize);
  const most = wholeNumber("--tokens", values.tokens, Number.MAX_SAFE_INTEGER)!;

  const { source } = openArgument(model);
  const repository = await openRepository(source, null, "");
  const { positions } = readModel(repository.config);
  const { tokenizer } = readLanguage(repository);
  const text = readText(file);
  const texts =
    conversations(text) ?? windows(tokenizer.encode(text, { addSpecialTokens: false }).slice(0, most), positions);
  const contextLength = Math.max(0, ...texts.map(({ ids }) => ids.length));
  if (contextLength < 2)
    throw new MixtabError("empty-prompt", `${file} has nothing to foretell: give a text of two tokens or more.`);
  const open = async (wanted: Quantize): Promise<Opened> => {
    const speaker = await openSpeaker(device);
    const options = { quantize: wanted, frugal: values.frugal, contextLength };
    return { speaker, loaded: await loadModel(speaker, source, null, options) };
  };
  const opened = await open(quantize);
  const reference = values.against === undefined ? null : await open(false);
  const { denseBytes, recordBytes, bitsPerWeight } = weigh(opened.loaded);
  say("quantize", values.quantize);
  say("dense", formatBytes(denseBytes));
  if (recordBytes > 0) say("record", formatBytes(recordBytes));
  say("bits per weight", bitsPerWeight.toFixed(2));

  const found = await measure(opened, texts, reference);
  say("tokens", found.tokens);
  say("perplexity", found.perplexity.toFixed(4));
  if (!reference) return 0;
  say("unquantised", found.reference.toFixed(4));
  say("ratio", (found.perplexity / found.reference).toFixed(4));
  say("KL per token", `${found.divergence.toFixed(5)} nats`);
  say("equal best ids", `${(100 * found.agreement).toFixed(1)} %`);
  return 0;
});

function say(name: string, value: string | number): void {
  console.log(`${name.padEnd(20)} ${value}`);
}

/** Cuts ids into texts of at most `most` ids. */
function windows(ids: readonly number[], most: number): Text[] {
  const begins = Array.from({ length: Math.ceil(ids.length / most) }, (_, index) => index * most);
  return begins.map((begin) => ({ ids: ids.slice(begin, begin + most), from: 1 }));
}

/**
 * The conversations of a golden.json, in which the answers count. undefined if the text is anything
 * else.
 */
function conversations(text: string): Text[] | undefined {
  let json: { readonly chats?: readonly Conversation[]; readonly prompts?: readonly Conversation[] } | null;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const found = json?.chats ?? json?.prompts;
  return found?.map(({ prompt_ids, greedy_ids }) => ({ ids: [...prompt_ids, ...greedy_ids], from: prompt_ids.length }));
}

interface Conversation {
  readonly prompt_ids: readonly number[];
  readonly greedy_ids: readonly number[];
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new MixtabError("not-found", `There is no text ${file}. Name a text file.`, cause);
  }
}
