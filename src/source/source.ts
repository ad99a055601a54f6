import { type ErrorCode, MixtabError } from "../base/errors.ts";
import type { FileVersions } from "./file_versions.ts";
import type { Waits } from "./waits.ts";

/** An error that may pass by itself: the network is gone, or the server is busy. */
export class Outage extends MixtabError {
  /** How long the server asks to be left alone; 0 if it does not say. */
  readonly waitMs: number;

  constructor(code: ErrorCode, message: string, { cause, waitMs = 0 }: { cause?: unknown; waitMs?: number } = {}) {
    super(code, message, cause);
    this.waitMs = waitMs;
  }
}

/**
 * Where bytes come from: a folder of files, by name. There is one implementation each for http, a
 * directory and files in memory.
 */
export interface Source {
  /** For people and for store keys: a URL, a path, "memory". */
  readonly name: string;
  /** Whether its bytes come over a network, so that it is worth keeping them in a store. */
  readonly remote: boolean;
  /**
   * A small file as a whole; undefined if there is none of that name. Errors: too-large, beyond the
   * limit of its kind (text_files.ts).
   */
  text(file: string, signal?: AbortSignal): Promise<string | undefined>;
  /** Length of a file in bytes. Errors: not-found. */
  size(file: string, signal?: AbortSignal): Promise<number>;
  /**
   * Bytes [begin, end) of a file, in pieces as they arrive, each valid until the next is asked for.
   * A cut connection is resumed where it broke. Errors: not-found, no-range (a 200 where 206 is
   * due, a wrong length), http, network, changed (the file is no longer the one whose bytes were
   * read before); AbortSignal's reason. Of http and network, those that may pass are an Outage.
   */
  read(file: string, begin: number, end: number, signal?: AbortSignal): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** Which version of each file it reads; absent where files do not change. */
  readonly versions?: FileVersions;
  /** Looks at which version a file is now, without reading it. Errors: changed, and as `size`. */
  look?(file: string, signal?: AbortSignal): Promise<void>;
  /** The waits before its requests are made again. */
  readonly waits?: Waits;
  /** The same place, of which no version is known yet. */
  again?(): Source;
}

/** Bytes [begin, end) of a file as one array. */
export async function readRange(
  source: Source,
  file: string,
  begin: number,
  end: number,
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(end - begin);
  let at = 0;
  for await (const piece of source.read(file, begin, end, signal)) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** Refuses bytes that a file of known length does not have. Errors: no-range. */
export function checkRange(file: string, begin: number, end: number, fileBytes: number): void {
  if (begin <= end && end <= fileBytes) return;
  throw new MixtabError(
    "no-range",
    `${file} has ${fileBytes} bytes, and bytes ${begin} to ${end} are needed. Check that the file is whole.`,
  );
}
