/**
 * The store's keys: `name@revision/layout/recipe/record`, where name and revision are written
 * without @ and /. So the first @ ends the name, whatever it holds, and no model's keys begin with
 * what another's begin with: not those of `https://x/@scope/` with those of `https://x/`.
 */

/** Raised when records of older visits can no longer be read: a part of every key. */
const LAYOUT = "v2";

/** What a key says. */
export interface RecordKey {
  /** The source's name. */
  readonly name: string;
  readonly revision: string;
  /** How records are stored, see format/recipe.ts. */
  readonly recipe: string;
  /** manifest, expert/…, dense/… */
  readonly record: string;
}

const escaped = (text: string): string =>
  text.replace(/[%@/]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

const unescaped = (text: string): string =>
  text.replace(/%(25|40|2F)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));

/** What all keys of a model begin with; of one revision if it is named, in today's layout then. */
export const keysOf = (name: string, revision?: string): string =>
  revision === undefined ? `${escaped(name)}@` : `${escaped(name)}@${escaped(revision)}/${LAYOUT}/`;

/** What the keys of a model's records in one recipe begin with. */
export const keysIn = (name: string, revision: string, recipe: string): string => `${keysOf(name, revision)}${recipe}/`;

/** What a key says; undefined for a key in another layout, or none of ours. */
export function readKey(key: string): RecordKey | undefined {
  const [, name, revision, layout, recipe, record] = /^([^@/]+)@([^@/]+)\/([^/]+)\/([^/]+)\/(.+)$/s.exec(key) ?? [];
  if (layout !== LAYOUT) return undefined;
  return { name: unescaped(name!), revision: unescaped(revision!), recipe: recipe!, record: record! };
}

/**
 * What a model's keys began with in the first builds of 0.1.0, which wrote the URL as it is, without
 * its query; other models' keys may begin so too. Nothing reads these records any more.
 */
export const oldKeysOf = (name: string): string => `${name.replace(/\?.*$/s, "")}@`;

/** Whether a key is one of {@link oldKeysOf}, and no other model's. */
export function isOfOldForm(key: string, name: string): boolean {
  const head = oldKeysOf(name);
  return key.startsWith(head) && /^[0-9a-f]{16}\/v\d+\//.test(key.slice(head.length));
}
