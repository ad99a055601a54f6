import { MixtabError } from "../base/errors.ts";
import { sha256 } from "../base/hash.ts";
import { excerpt, quote } from "../base/quote.ts";
import { headerBytes, parseSafetensorsHeader, type TensorEntry } from "../format/safetensors.ts";
import type { Versions } from "./file_versions.ts";
import { readRange, type Source } from "./source.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
/** Published models have at most about 200 files; each costs two requests. */
const MAX_SHARDS = 2048;
/** Characters of a file's name; published ones have about 40, and messages show it whole. */
const MAX_NAME = 200;
/** Hex digits of the revision: 64 bits tell the versions of one model apart. */
const REVISION_DIGITS = 16;

/** What a folder holds, without the weights themselves. */
export interface ModelFiles {
  /** config.json. */
  readonly config: unknown;
  /** The small files that were asked for and are there. */
  readonly texts: Readonly<Record<string, string>>;
  /** The tensors of each safetensors file. */
  readonly shards: ReadonlyMap<string, ReadonlyMap<string, TensorEntry>>;
  /**
   * SHA-256 of config.json, all headers and `versions`, its first 16 hex digits: changes when the
   * model does.
   */
  readonly revision: string;
  /** Which version of the safetensors files was opened; absent where they do not change. */
  readonly versions?: Versions | undefined;
}

/**
 * Reads config.json and the headers of the safetensors files: those that the index names, else
 * model.safetensors. Two small requests for each weights file. Beside them, reads the `small` files. Errors: not-found, bad-json, bad-safetensors
 * (which name the file), missing-shard, and those of the source.
 */
export async function openFiles(
  source: Source,
  signal?: AbortSignal,
  small: readonly string[] = [],
): Promise<ModelFiles> {
  const configText = await source.text("config.json", signal); // alone, since its commit holds for the others
  if (configText === undefined)
    throw new MixtabError(
      "not-found",
      `There is no config.json in ${excerpt(source.name)}. Check that it is a model's folder.`,
    );
  const config = parseJson("config.json", configText);
  const texts: Record<string, string> = {};
  let weights: Omit<ModelFiles, "config" | "texts"> | undefined;
  await allOrNone([INDEX, ...small], signal, async (file, each) => {
    const text = await source.text(file, each);
    if (file === INDEX) weights = await openWeights(source, configText, text, each);
    else if (text !== undefined) texts[file] = text;
  });
  return { config, texts, ...weights! };
}

/** Reads the headers of the files that an index names; without one, of the only file. */
async function openWeights(source: Source, configText: string, indexText: string | undefined, signal: AbortSignal) {
  const weightMap = indexText === undefined ? undefined : readIndex(indexText);
  const files = weightMap ? [...new Set(weightMap.values())].sort() : [SINGLE];

  const headers = await allOrNone(files, signal, (file, each) =>
    readHeader(source, file, weightMap !== undefined, each),
  );
  const shards = new Map<string, ReadonlyMap<string, TensorEntry>>();
  for (const [index, file] of files.entries()) {
    // If a tensor lies in two files, the one that the index names counts.
    const tensors = [...headers[index]!.tensors].filter(([name]) => (weightMap?.get(name) ?? file) === file);
    shards.set(file, new Map(tensors));
  }
  const versions = source.versions?.ofAll(files);
  const names = new TextEncoder().encode(JSON.stringify([configText, files, versions]));
  const hash = await sha256(concatenate([names, ...headers.map(({ bytes }) => bytes)]));
  return { shards, revision: hash.slice(0, REVISION_DIGITS), versions };
}

async function readHeader(source: Source, file: string, indexed: boolean, signal: AbortSignal) {
  try {
    const first8 = await readRange(source, file, 0, 8, signal);
    const fileBytes = await source.size(file, signal); // a remote source has learnt it from the read above
    const length = headerBytes(first8, fileBytes);
    const bytes = concatenate([first8, await readRange(source, file, 8, length, signal)]);
    return { bytes, tensors: parseSafetensorsHeader(bytes, fileBytes).tensors };
  } catch (error) {
    if (!(error instanceof MixtabError)) throw error;
    if (error.code === "bad-safetensors") throw new MixtabError(error.code, `${file}: ${error.message}`, error);
    if (error.code !== "not-found") throw error;
    throw indexed
      ? new MixtabError(
          "missing-shard",
          `${INDEX} names ${file}, and it is not in ${excerpt(source.name)}. Add it.`,
          error,
        )
      : new MixtabError(
          "not-found",
          `${excerpt(source.name)} has neither ${INDEX} nor ${SINGLE}. mixtab reads safetensors.`,
          error,
        );
  }
}

/** `weight_map` of an index: which file each tensor is in. */
function readIndex(text: string): Map<string, string> {
  const { weight_map: listed } = Object(parseJson(INDEX, text)) as { weight_map?: unknown };
  const map = new Map<string, unknown>(typeof listed === "object" ? Object.entries(listed ?? {}) : []);
  const files = new Set(map.values());
  if (files.size === 0 || files.size > MAX_SHARDS)
    throw badJson(INDEX, `its weight_map names ${files.size} files, and 1 to ${MAX_SHARDS} are expected`);
  for (const file of files)
    if (!isPlainName(file)) throw badJson(INDEX, `its weight_map names ${quote(file)}, which is no file name`);
  return map as Map<string, string>;
}

/** Whether a name is that of a file in the folder or below: the index must not lead elsewhere. */
function isPlainName(file: unknown): file is string {
  return (
    typeof file === "string" &&
    file.length <= MAX_NAME &&
    /^[\w. -]+(\/[\w. -]+)*$/.test(file) &&
    !/(^|\/)\.+(\/|$)/.test(file)
  );
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw badJson(file, /^\s*</.test(text) ? "it is an HTML page" : "it is not JSON", cause);
  }
}

function badJson(file: string, what: string, cause?: unknown): MixtabError {
  return new MixtabError(
    "bad-json",
    `${file} cannot be read: ${what}. Check the model's address and its files.`,
    cause,
  );
}

/** Reads all files at once; the first failure stops the others. */
async function allOrNone<T>(
  files: readonly string[],
  signal: AbortSignal | undefined,
  read: (file: string, signal: AbortSignal) => Promise<T>,
): Promise<T[]> {
  const stop = new AbortController();
  const each = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const all = files.map((file) => read(file, each));
  try {
    return await Promise.all(all);
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled(all);
    throw error;
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
