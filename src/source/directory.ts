import { MixtabError } from "../base/errors.ts";
import { checkRange, type Source } from "./source.ts";
import { readText } from "./text_files.ts";

/** Files are read in pieces of this length. */
const PIECE_BYTES = 4 * 1024 * 1024;

/**
 * A folder on this machine; in Node only. Errors: not-found (which says why), no-range (bytes
 * beyond a file's end), too-large.
 */
export function directorySource(folder: string): Source {
  // Node's module is imported only when it is used, and this file only by Node code, so that no
  // bundle for browsers carries Node's modules.
  const disk = async () => await import("node:fs/promises");
  const pathOf = (file: string) => `${folder.replace(/\/+$/, "")}/${file}`;

  async function size(file: string): Promise<number> {
    const { stat } = await disk();
    const found = await stat(pathOf(file)).catch((cause) => {
      throw unreadable(pathOf(file), cause);
    });
    if (!found.isFile()) throw unreadable(pathOf(file), { code: "it is not a file" });
    return found.size;
  }

  return {
    name: folder,
    remote: false,
    size,

    async text(file, signal) {
      const { createReadStream } = await import("node:fs");
      try {
        return await readText(file, createReadStream(pathOf(file), signal ? { signal } : {}));
      } catch (cause) {
        signal?.throwIfAborted();
        if (cause instanceof MixtabError) throw cause;
        if (reasonOf(cause) === "ENOENT") return undefined;
        throw unreadable(pathOf(file), cause);
      }
    },

    async *read(file, begin, end, signal) {
      checkRange(file, begin, end, await size(file));
      const { open } = await disk();
      const handle = await open(pathOf(file)).catch((cause) => {
        throw unreadable(pathOf(file), cause);
      });
      try {
        for (let at = begin; at < end; ) {
          signal?.throwIfAborted();
          const piece = new Uint8Array(Math.min(PIECE_BYTES, end - at));
          const { bytesRead } = await handle.read(piece, 0, piece.length, at);
          if (bytesRead === 0) throw unreadable(pathOf(file), { code: "it became shorter meanwhile" });
          at += bytesRead;
          yield piece.subarray(0, bytesRead);
        }
      } finally {
        await handle.close();
      }
    },
  };
}

function reasonOf(cause: unknown): string {
  return String((cause as { code?: unknown } | null)?.code ?? cause);
}

function unreadable(path: string, cause: unknown): MixtabError {
  return new MixtabError("not-found", `${path} cannot be read: ${reasonOf(cause)}. Check the folder.`, cause);
}
