/**
 * The length at which a key is cut into names. File systems allow names of 255 bytes; 200 leaves
 * room for the mark of a folder, and keeps paths legible.
 */
const PIECE = 200;

/**
 * Ends a folder's name. Without it, the file of a key of exactly PIECE characters would have the
 * same name as the folder of a longer key that begins with it.
 */
const FOLDER = "+";

/** Where a key's file lies: folders from the outermost, and its name. */
export interface FilePath {
  readonly folders: readonly string[];
  readonly name: string;
}

/**
 * The file of a key. Every character but a-z, 0-9, _, @ and - becomes % and four hex digits (`A/b`
 * becomes `%0041%002fb`), since file systems may ignore case, forbid characters and normalise
 * others. What is then too long for a name is cut into folders.
 */
export function fileOf(key: string): FilePath {
  const safe = key.replace(/[^a-z0-9_@-]/g, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const pieces = safe.match(new RegExp(`.{1,${PIECE}}`, "g")) ?? ["%"]; // "%" is the name of the empty key alone
  return { folders: pieces.slice(0, -1).map((piece) => piece + FOLDER), name: pieces.at(-1)! };
}

/** The key of a file, whose folders' names and own name were joined. */
export function keyOf(path: FilePath): string {
  const safe = path.folders.map((folder) => folder.slice(0, -FOLDER.length)).join("") + path.name;
  return safe.replace(/%(....)|%$/g, (_, hex?: string) => (hex ? String.fromCharCode(Number.parseInt(hex, 16)) : ""));
}
