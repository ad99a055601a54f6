/**
 * Where bytes are kept between visits: records by key. A record is written whole or not at all, with its SHA-256; what is read
 * the first time in a session is checked against it.
 */
export interface Store {
  /** undefined: absent, unreadable, or (then deleted first) not what its hash says. */
  get(key: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Errors: quota (the record is not there, nothing else is harmed), store. */
  put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Keys that begin with `prefix`, without reading the records. */
  keys(prefix: string): Promise<string[]>;
  /** Deletes every record whose key begins with `prefix`. */
  delete(prefix: string): Promise<void>;
  close(): void;
}
