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
  /** Writes the manifest: from now on the model opens from the store alone. */
  finish(): Promise<void>;
}

interface Manifest {
  readonly config: string;
  readonly revision: string;
  readonly texts: Repository["texts"];
  readonly shards: readonly (readonly [string, readonly (readonly [string, TensorEntry])[]])[];
}

/**
 * Opens a model: from its manifest in the store where an earlier visit stored everything
 * (config.json is asked for once more, to notice a new revision; without a network the stored one
 * counts), else from its files. `format` names how records are stored.
 */
export async function openRepository(
  source: Source,
  store: Store | null,
  format: string,
  signal?: AbortSignal,
): Promise<Repository> {
  const stored = store && (await storedManifest(source, store, format, signal));
  if (stored) return repository(source, store, format, stored, true);

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
  return repository(source, store, format, manifest, false);
}

function repository(source: Source, store: Store | null, format: string, manifest: Manifest, complete: boolean) {
  const prefix = keysIn(source.name, manifest.revision, format);
  const config: unknown = JSON.parse(manifest.config);
  const shards = new Map(manifest.shards.map(([file, tensors]) => [file, new Map(tensors)]));
  return {
    config,
    checkpoint: openCheckpoint(config, shards),
    texts: manifest.texts,
    prefix,
    complete,
    async finish() {
      await store?.put(`${prefix}manifest`, new TextEncoder().encode(JSON.stringify(manifest)));
    },
  };
}

async function storedManifest(source: Source, store: Store, format: string, signal?: AbortSignal) {
  const keys = await store.keys(keysOf(source.name));
  const key = keys.find((candidate) => {
    const { recipe, record } = readKey(candidate) ?? {};
    return recipe === format && record === "manifest";
  });
  const bytes = key && (await readWhole(store, key));
  if (!bytes) return undefined;
  const manifest = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
  const current = await currentConfig(source, signal);
  return current === undefined || sameJson(current, manifest.config) ? manifest : undefined;
}

/**
 * config.json as it is now; undefined where that cannot be told: no network, or a server in
 * trouble.
 */
async function currentConfig(source: Source, signal?: AbortSignal): Promise<string | undefined> {
  try {
    return await source.text("config.json", signal);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof MixtabError) return undefined;
    throw error;
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
