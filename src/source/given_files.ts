import { MixtabError } from "../base/errors.ts";
import { checkRange, type Source } from "./source.ts";
import { checkTextBytes } from "./text_files.ts";

/** Files are given in pieces of this length. */
const PIECE_BYTES = 4 * 1024 * 1024;

/**
 * Files held in memory, or chosen by a person, by name. Errors: not-found, no-range (bytes beyond a
 * file's end), too-large.
 */
export function givenFiles(files: Readonly<Record<string, Blob | Uint8Array<ArrayBuffer>>>): Source {
  function find(file: string): Blob | Uint8Array<ArrayBuffer> {
    const found = Object.hasOwn(files, file) ? files[file] : undefined;
    if (!found) throw new MixtabError("not-found", `There is no file ${file} among those given. Add it.`);
    return found;
  }
  const sizeOf = (content: Blob | Uint8Array) => (content instanceof Blob ? content.size : content.length);

  return {
    name: "memory",
    remote: false,

    async text(file) {
      if (!Object.hasOwn(files, file)) return undefined;
      const content = find(file);
      checkTextBytes(file, sizeOf(content));
      return new TextDecoder().decode(content instanceof Blob ? await load(content, file) : content);
    },

    size: async (file) => sizeOf(find(file)),

    async *read(file, begin, end, signal) {
      const content = find(file);
      checkRange(file, begin, end, sizeOf(content));
      for (let at = begin; at < end; at += PIECE_BYTES) {
        signal?.throwIfAborted();
        const pieceEnd = Math.min(at + PIECE_BYTES, end);
        if (content instanceof Blob) yield await load(content.slice(at, pieceEnd), file);
        else yield content.subarray(at, pieceEnd);
      }
    },
  };
}

async function load(blob: Blob, file: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (cause) {
    const next = "It was moved or changed since it was chosen: choose it again.";
    throw new MixtabError("not-found", `The file ${file} can no longer be read. ${next}`, cause);
  }
}
