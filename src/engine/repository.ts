import { hasCode, MixtabError } from "../base/errors.ts";
import { type Checkpoint, openCheckpoint } from "../format/checkpoint.ts";
import type { TensorEntry } from "../format/safetensors.ts";
import type { Versions } from "../source/file_versions.ts";
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
  /** What a user should know of how the model was opened. */
  readonly notes: readonly string[];
  /** Writes the manifest: from now on the model opens from the store alone. */
  finish(): Promise<void>;
}

/** A visit to a stored model waits no longer for what may have changed, however busy the server is. */
const PATIENCE_MS = 5000;

interface Manifest {
  readonly config: string;
  readonly revision: string;
  /** Which version of the files was read. */
  readonly versions?: Versions | undefined;
  readonly texts: Repository["texts"];
  readonly shards: readonly (readonly [string, readonly (readonly [string, TensorEntry])[]])[];
}

const REPLACED =
  "What an earlier visit kept of the model was of other files than the server has now. It is deleted, and the model is loaded anew.";

/**
 * Opens a model: from its manifest in the store where an earlier visit stored everything (see
 * {@link revise}), else from its files. `format` names how records are stored; `patienceMs` is how
 * long a stored model waits for what may have changed. Errors: changed, where the weights are no
 * longer those that were stored.
 */
export async function openRepository(
  source: Source,
  store: Store | null,
  format: string,
  signal?: AbortSignal,
  patienceMs = PATIENCE_MS,
): Promise<Repository> {
  const stored = store && (await storedManifest(source, store, format));
  if (stored?.versions) source.versions?.expect(stored.versions);
  const current = stored && (await revise(stored, source, AbortSignal.timeout(patienceMs), signal));
  if (current)
    return repository(source, store, format, current, { complete: true, revised: current !== stored, notes: [] });

  const { config, shards, revision, versions, texts } = await openFiles(source, signal, TEXT_FILES);
  const manifest: Manifest = {
    config: JSON.stringify(config),
    revision,
    versions,
    texts,
    shards: [...shards].map(([file, tensors]) => [file, [...tensors]]),
  };
  const notes = versions ? notesOn(versions) : [];
  if (store && (await forgetOthers(source, store, revision))) notes.push(REPLACED);
  return repository(source, store, format, manifest, { complete: false, revised: false, notes });
}

/** Says of which files a change might not be noticed. */
function notesOn({ files }: Versions): string[] {
  const hidden = Object.entries(files).filter(([, { etag, modified }]) => etag === undefined && modified === undefined);
  if (hidden.length === 0) return [];
  const [[name] = [""]] = hidden;
  const which = hidden.length === 1 ? name : `${name} and ${hidden.length - 1} others`;
  return [
    `The server shows neither ETag nor Last-Modified of ${which}: whether it is still the same file is judged by its length alone.`,
  ];
}

function repository(
  source: Source,
  store: Store | null,
  format: string,
  manifest: Manifest,
  state: Pick<Repository, "complete" | "revised" | "notes">,
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
 * for one round trip, and so is the version of each weights file. The same manifest if nothing has
 * changed; undefined if config.json has, which means another revision. What cannot be told (no
 * network, a server in trouble) is as it was stored. Errors: changed.
 */
async function revise(
  stored: Manifest,
  source: Source,
  late: AbortSignal,
  signal?: AbortSignal,
): Promise<Manifest | undefined> {
  const each = signal ? AbortSignal.any([signal, late]) : late;
  const current = <T>(work: Promise<T>) => unlessUnknown(work, late, signal);
  const weights = Object.keys(stored.versions?.files ?? {});
  const looking = weights.map((file) => current(source.look?.(file, each) ?? Promise.resolve()));
  const asking = ["config.json", ...TEXT_FILES].map((file) => current(source.text(file, each)));
  const [[config, ...answers]] = await Promise.all([Promise.all(asking), Promise.all(looking)]);
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

/** What a server says now; null where that cannot be told. Errors: changed. */
async function unlessUnknown<T>(work: Promise<T>, late: AbortSignal, signal?: AbortSignal): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    signal?.throwIfAborted();
    if (hasCode(error, "changed")) throw error;
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

/** Deletes what is of another revision, layout or form. Resolves to whether there was another revision. */
async function forgetOthers({ name }: Source, store: Store, revision: string): Promise<boolean> {
  const mine = keysOf(name, revision);
  const others = (await store.keys(keysOf(name))).filter((key) => !key.startsWith(mine));
  for (const key of others) await store.delete(key);
  for (const key of await store.keys(oldKeysOf(name))) if (isOfOldForm(key, name)) await store.delete(key);
  return others.some((key) => readKey(key) !== undefined);
}
