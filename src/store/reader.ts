import { MixtabError } from "../base/errors.ts";
import { sha256 } from "../base/hash.ts";
import { nameOf } from "./errors.ts";
import { inTime, Overdue, PATIENCE, type Patience } from "./patience.ts";
import { blobSlices, SLICE_BYTES, type Slices } from "./slices.ts";
import type { Accept } from "./store.ts";

/** A record in a store. It can be opened for reading as often as one likes. */
export interface Kept {
  readonly bytes: number;
  readonly sha256: string;
  open(): Slices;
}

/** A record in a Blob. Throws if the Blob is not `bytes` bytes long. */
export function keptBlob(blob: Blob, bytes: number, sha256: string): Kept {
  if (blob.size !== bytes) throw new Error("the record has another length");
  return { bytes, sha256, open: () => blobSlices(blob) };
}

/** Where a reader finds its records. */
export interface Shelves {
  /**
   * The record of a key; undefined if there is none. Throws if what is there is not a whole record.
   */
  find(key: string): Promise<Kept | undefined>;
  remove(key: string): Promise<void>;
  /** To be called when a read was never answered: the way to the records is to be found anew. */
  lost?(): void;
}

/**
 * The reading half of every store. For the time of a session it remembers which records were
 * verified and where they lie.
 */
export class RecordReader {
  private readonly shelves: Shelves;
  private readonly sliceBytes: number;
  private readonly patience: Patience;
  /**
   * By key, what is known of the records that were read; `right` is set once the hash was verified.
   * Finding a record again would cost as much as reading a megabyte of it.
   */
  private readonly entries = new Map<string, { right?: Kept }>();

  constructor(shelves: Shelves, { sliceBytes = SLICE_BYTES, patience = PATIENCE } = {}) {
    this.shelves = shelves;
    this.sliceBytes = sliceBytes;
    this.patience = patience;
  }

  /** As Store.read. */
  async read(key: string, accept: Accept, signal?: AbortSignal): Promise<number | undefined> {
    signal?.throwIfAborted();
    const known = this.entries.get(key)?.right;
    if (!known) return await this.readFirst(key, accept, signal);
    const reached = await this.stream(known, accept, signal);
    if (reached === known.bytes) return reached;
    this.forget(key);
    if (reached === 0) return await this.readFirst(key, accept, signal); // another tab may have replaced it
    await this.shelves.remove(key).catch(() => {});
    return undefined;
  }

  /** To be called when a record has been put or deleted: its next read is a first one again. */
  forget(key: string): void {
    this.entries.delete(key);
  }

  forgetAll(prefix = ""): void {
    for (const key of this.entries.keys()) if (key.startsWith(prefix)) this.entries.delete(key);
  }

  private async readFirst(key: string, accept: Accept, signal?: AbortSignal): Promise<number | undefined> {
    const entry = this.entries.get(key) ?? {};
    this.entries.set(key, entry);
    const bytes = await this.verify(key, entry);
    signal?.throwIfAborted();
    if (!bytes) return undefined;
    const { length } = bytes; // the length is 0 once the bytes are released
    if (length > 0) accept(0, bytes);
    return length;
  }

  private async verify(key: string, entry: { right?: Kept }): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      const record = await this.shelves.find(key);
      if (!record) return undefined;
      const bytes = await this.whole(record);
      if ((await sha256(bytes)) === record.sha256) {
        entry.right = record;
        return bytes;
      }
    } catch (error) {
      if (error instanceof MixtabError) throw error;
      if (error instanceof Overdue) this.lost();
      if (error instanceof Overdue || nameOf(error) === "AbortError") return undefined; // the record may be sound
    }
    if (this.entries.get(key) !== entry) return undefined; // it was put again meanwhile
    this.forget(key);
    await this.shelves.remove(key).catch(() => {}); // if that fails, the next put overwrites it
    return undefined;
  }

  /** Forgets all it knows of the records, since reads are no longer answered. */
  private lost(): void {
    this.forgetAll();
    this.shelves.lost?.();
  }

  private async whole(record: Kept): Promise<Uint8Array<ArrayBuffer>> {
    if (record.bytes === 0) return new Uint8Array();
    const slices = record.open();
    try {
      return await inTime(slices.next(record.bytes), this.patience, record.bytes);
    } finally {
      slices.close();
    }
  }

  /**
   * Gives a record to `accept` slice by slice. Resolves to how many bytes were accepted: all, or
   * those before a slice that could not be read.
   */
  private async stream(record: Kept, accept: Accept, signal?: AbortSignal): Promise<number> {
    const slices = record.open();
    const read = (at: number) => {
      if (at >= record.bytes) return undefined;
      const bytes = Math.min(this.sliceBytes, record.bytes - at);
      return inTime(slices.next(bytes), this.patience, bytes).catch((error) => {
        if (error instanceof Overdue) this.lost();
        return undefined;
      });
    };
    try {
      let at = 0;
      for (let next = read(0); next; ) {
        const slice = await next;
        signal?.throwIfAborted();
        if (!slice) break;
        const { length } = slice;
        next = read(at + length);
        accept(at, slice);
        at += length;
      }
      return at;
    } finally {
      slices.close();
    }
  }
}
