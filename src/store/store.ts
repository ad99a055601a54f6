/** Takes bytes of a record that begin at `offset`; they are the taker's, who may release them. */
export type Accept = (offset: number, bytes: Uint8Array<ArrayBuffer>) => void;

/**
 * Where bytes are kept between visits: records by key. A record is written whole or not at all,
 * with its SHA-256; what is read the first time in a session is checked against it.
 */
export interface Store {
  /**
   * Gives a record's bytes to `accept` in ascending slices: the first time in a session all at
   * once, after their hash was found right, later SLICE_BYTES at a time, of which two are in memory
   * at most. Resolves to the record's length; to undefined where it is absent, unreadable, or (then
   * deleted first) not what its hash says: what was accepted of it is void then. Rejects with the
   * signal's reason when aborted, and with what `accept` throws. Errors: store, closed.
   */
  read(key: string, accept: Accept, signal?: AbortSignal): Promise<number | undefined>;
  /**
   * The bytes must not change before it resolves. Errors: quota (the record is not there, nothing
   * else is harmed), store, closed.
   */
  put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /**
   * Keys that begin with `prefix`, in order of their UTF-16 code units, without reading the
   * records.
   */
  keys(prefix: string): Promise<string[]>;
  /** Deletes every record whose key begins with `prefix`. */
  delete(prefix: string): Promise<void>;
  close(): void;
}

/** A record in one piece, for those that are small; undefined as with {@link Store.read}. */
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
