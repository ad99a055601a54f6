/**
 * File systems take names of 255 bytes. Chosen so that a name that grows by a mark still fits, and
 * paths stay legible.
 */
const PIECE = 200;

/** Marks a folder, so that a key which ends where another is cut has a name of its own. */
const FOLDER = "+";

/** Where a key's file lies: folders from the outermost, and its name. */
export interface FilePath {
  readonly folders: readonly string[];
  readonly name: string;
}

/**
 * The file of a key. All that is not a-z, 0-9, _, @ or - becomes % and four hex digits, since file
 * systems may ignore case, forbid characters and normalise others; what is too long then for a name
 * is cut into folders.
 */
export function fileOf(key: string): FilePath {
  const safe = key.replace(/[^a-z0-9_@-]/g, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const pieces = safe.match(new RegExp(`.{1,${PIECE}}`, "g")) ?? ["%"]; // the empty key, which no other becomes
  return { folders: pieces.slice(0, -1).map((piece) => piece + FOLDER), name: pieces.at(-1)! };
}

/** The key of a file, whose folders' names and own name were joined. */
export function keyOf(path: FilePath): string {
  const safe = path.folders.map((folder) => folder.slice(0, -FOLDER.length)).join("") + path.name;
  return safe.replace(/%(....)|%$/g, (_, hex?: string) => (hex ? String.fromCharCode(Number.parseInt(hex, 16)) : ""));
}
