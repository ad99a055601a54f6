/**
 * Takes bytes of a record that begin at `offset`. They belong to the taker, who may release them.
 */
export type Accept = (offset: number, bytes: Uint8Array<ArrayBuffer>) => void;

/**
 * Where bytes are kept between visits: records by key. A record is written whole or not at all,
 * with its SHA-256; its first read in a session is checked against that.
 */
export interface Store {
  /**
   * Gives a record's bytes to `accept` in ascending order. The first read in a session gives all at
   * once, after their hash was found right; later reads give SLICE_BYTES at a time, of which two
   * are in memory at most. Resolves to the record's length. Resolves to undefined if the record is
   * absent, cannot be read, or does not match its hash (it is deleted then); whatever was accepted
   * of it is then void. Rejects with the signal's reason when aborted, and with what `accept`
   * throws. Errors: store, closed.
   */
  read(key: string, accept: Accept, signal?: AbortSignal): Promise<number | undefined>;
  /**
   * Keeps a record. The bytes must not change before the promise resolves. Errors: quota (then this
   * record is not kept, and no other is harmed), store, closed.
   */
  put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /**
   * Keys that begin with `prefix`, in order of their UTF-16 code units, without reading the
   * records.
   */
  keys(prefix: string): Promise<string[]>;
  /**
   * Lengths of the records whose keys begin with `prefix`, in the order of their keys, without
   * reading the records. Errors: store, closed.
   */
  sizes(prefix: string): Promise<ReadonlyMap<string, number>>;
  /** Deletes every record whose key begins with `prefix`. */
  delete(prefix: string): Promise<void>;
  /** From now on each record's next read is a first one again, and so checked. */
  doubt(): void;
  close(): void;
}

/** Reads a small record in one piece; undefined as with {@link Store.read}. */
export async function readWhole(store: Store, key: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const slices: Uint8Array<ArrayBuffer>[] = [];
  const length = await store.read(key, (_, bytes) => {
    slices.push(bytes);
  });
  if (length === undefined) return undefined;
  if (slices.length === 1) return slices[0];
  const whole = new Uint8Array(length);
  let at = 0;
  for (const slice of slices) {
    whole.set(slice, at);
    at += slice.length;
  }
  return whole;
}
