import { MixtabError } from "../base/errors.ts";
import { type Checkpoint, openCheckpoint } from "../format/checkpoint.ts";
import type { TensorEntry } from "../format/safetensors.ts";
import { openFiles } from "../source/open_model.ts";
import type { Source } from "../source/source.ts";
import { readWhole, type Store } from "../store/store.ts";
import { isOfOldForm, keysIn, keysOf, oldKeysOf, readKey } from "./keys.ts";

/** Small files that belong to a model besides its weights. */
const TEXT_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "generation_config.json",
] as const;
export type TextFile = (typeof TEXT_FILES)[number];

/** A model's small files, and where its tensors lie. */
export interface Repository {
  readonly config: unknown;
  readonly checkpoint: Checkpoint;
  readonly texts: Readonly<Partial<Record<TextFile, string>>>;
  /** What the store's keys of this model's records begin with, see keys.ts. */
  readonly prefix: string;
  /**
   * Whether every record was in the store when the model was opened: nothing needs to be requested.
   */
  readonly complete: boolean;
  /** Whether texts have changed since the manifest was written. */
  readonly revised: boolean;
  /** Writes the manifest: from now on the model opens from the store alone. */
  finish(): Promise<void>;
}

/** A visit to a stored model waits no longer for what may have changed, however busy the server is. */
const PATIENCE_MS = 5000;

interface Manifest {
  readonly config: string;
  readonly revision: string;
  readonly texts: Repository["texts"];
  readonly shards: readonly (readonly [string, readonly (readonly [string, TensorEntry])[]])[];
}

/**
 * Opens a model: from its manifest in the store where an earlier visit stored everything (see
 * {@link revise}), else from its files. `format` names how records are stored; `patienceMs` is how
 * long a stored model waits for what may have changed.
 */
export async function openRepository(
  source: Source,
  store: Store | null,
  format: string,
  signal?: AbortSignal,
  patienceMs = PATIENCE_MS,
): Promise<Repository> {
  const stored = store && (await storedManifest(source, store, format));
  const current = stored && (await revise(stored, source, AbortSignal.timeout(patienceMs), signal));
  if (current) return repository(source, store, format, current, { complete: true, revised: current !== stored });

  const { config, shards, revision } = await openFiles(source, signal);
  const texts: Partial<Record<TextFile, string>> = {};
  for (const file of TEXT_FILES) {
    const text = await source.text(file, signal);
    if (text !== undefined) texts[file] = text;
  }
  const manifest: Manifest = {
    config: JSON.stringify(config),
    revision,
    texts,
    shards: [...shards].map(([file, tensors]) => [file, [...tensors]]),
  };
  if (store) await forgetOthers(source, store, revision);
  return repository(source, store, format, manifest, { complete: false, revised: false });
}

function repository(
  source: Source,
  store: Store | null,
  format: string,
  manifest: Manifest,
  state: Pick<Repository, "complete" | "revised">,
): Repository {
  const prefix = keysIn(source.name, manifest.revision, format);
  const config: unknown = JSON.parse(manifest.config);
  const shards = new Map(manifest.shards.map(([file, tensors]) => [file, new Map(tensors)]));
  return {
    config,
    checkpoint: openCheckpoint(config, shards),
    texts: manifest.texts,
    prefix,
    ...state,
    async finish() {
      await store?.put(`${prefix}manifest`, new TextEncoder().encode(JSON.stringify(manifest)));
    },
  };
}

async function storedManifest(source: Source, store: Store, format: string): Promise<Manifest | undefined> {
  const keys = await store.keys(keysOf(source.name));
  const key = keys.find((candidate) => {
    const { recipe, record } = readKey(candidate) ?? {};
    return recipe === format && record === "manifest";
  });
  const bytes = key && (await readWhole(store, key));
  return bytes ? (JSON.parse(new TextDecoder().decode(bytes)) as Manifest) : undefined;
}

/**
 * What is stored, with the texts as they are now: all are asked for at once, so that a visit waits
 * for one round trip. The same manifest if nothing has changed; undefined if config.json has, which
 * means another revision. What cannot be told (no network, a server in trouble) is as it was stored.
 */
async function revise(
  stored: Manifest,
  source: Source,
  late: AbortSignal,
  signal?: AbortSignal,
): Promise<Manifest | undefined> {
  const [config, ...answers] = await Promise.all(
    ["config.json", ...TEXT_FILES].map((file) => currentText(source, file, late, signal)),
  );
  if (typeof config !== "string") return stored;
  if (!sameJson(config, stored.config)) return undefined;
  const texts: Partial<Record<TextFile, string>> = {};
  for (const [index, file] of TEXT_FILES.entries()) {
    const before = stored.texts[file];
    const text = isUsable(file, answers[index], before) ? answers[index] : before;
    if (text !== undefined) texts[file] = text;
  }
  const changed = TEXT_FILES.some((file) => texts[file] !== stored.texts[file]);
  return changed ? { ...stored, texts } : stored;
}

/** A text as it is now; undefined where there is none, null where that cannot be told. */
async function currentText(
  source: Source,
  file: string,
  late: AbortSignal,
  signal?: AbortSignal,
): Promise<string | undefined | null> {
  try {
    return await source.text(file, signal ? AbortSignal.any([signal, late]) : late);
  } catch (error) {
    signal?.throwIfAborted();
    if (late.aborted || error instanceof MixtabError) return null;
    throw error;
  }
}

/**
 * Whether an answer may take the place of the stored text. One that is no JSON where JSON is due was
 * cut short, or is a page of the network's owner; and no model speaks without a tokenizer.json, so
 * that it is not gone for good.
 */
function isUsable(
  file: TextFile,
  now: string | undefined | null,
  before: string | undefined,
): now is string | undefined {
  if (now === null) return false;
  if (now === before) return true;
  if (now === undefined) return file !== "tokenizer.json";
  return !file.endsWith(".json") || isJson(now);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function sameJson(text: string, canonical: string): boolean {
  try {
    return JSON.stringify(JSON.parse(text)) === canonical;
  } catch {
    return false;
  }
}

/** Deletes what is of another revision, layout or form. */
async function forgetOthers({ name }: Source, store: Store, revision: string): Promise<void> {
  const mine = keysOf(name, revision);
  for (const key of await store.keys(keysOf(name))) if (!key.startsWith(mine)) await store.delete(key);
  for (const key of await store.keys(oldKeysOf(name))) if (isOfOldForm(key, name)) await store.delete(key);
}
