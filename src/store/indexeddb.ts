import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import { sha256 } from "../base/hash.ts";
import { closedError, nameOf, storeError, writeError } from "./errors.ts";
import { keptBlob, RecordReader } from "./reader.ts";
import type { Accept, Store } from "./store.ts";

const VERSION = 1;
const RECORDS = "records";
const PLACE = "database";
/** How long a tab with another version may take to let go of the database. */
const BLOCKED_MS = 10_000;

/**
 * A record as the database holds it: in a Blob, since an ArrayBuffer inside a record is 3 to 4
 * times slower to read (Chromium).
 */
interface StoredRecord {
  readonly blob: Blob;
  readonly bytes: number;
  readonly sha256: string;
}

interface Schema extends DBSchema {
  [RECORDS]: { key: string; value: StoredRecord };
}

type Database = IDBPDatabase<Schema>;

/**
 * Opens the browser's store, shared by all tabs of an origin. Errors: store, where the browser
 * refuses.
 */
export async function openIndexedDbStore(name = "mixtab"): Promise<Store> {
  const store = new IndexedDbStore(name);
  await store.database();
  return store;
}

class IndexedDbStore implements Store {
  private readonly name: string;
  /**
   * Null before the first use, and after another tab or the browser has closed the connection; the
   * next use opens it again.
   */
  private connection: Promise<Database> | null = null;
  private closed = false;
  private readonly reader = new RecordReader({
    find: async (key) => {
      const record = await this.use((database) => database.get(RECORDS, key));
      return record && keptBlob(record.blob, record.bytes, record.sha256);
    },
    remove: (key) => this.use((database) => database.delete(RECORDS, key)),
  });

  constructor(name: string) {
    this.name = name;
  }

  async read(key: string, accept: Accept, signal?: AbortSignal): Promise<number | undefined> {
    if (this.closed) throw closedError();
    return await this.reader.read(key, accept, signal);
  }

  async put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const record = { blob: new Blob([bytes]), bytes: bytes.length, sha256: await sha256(bytes) };
    try {
      await this.use((database) => write(database, key, record));
    } catch (error) {
      throw await writeError(PLACE, bytes.length, error);
    } finally {
      this.reader.forget(key);
    }
  }

  async keys(prefix: string): Promise<string[]> {
    return await this.use((database) => database.getAllKeys(RECORDS, startingWith(prefix))).catch((error) => {
      throw storeError(PLACE, error);
    });
  }

  async sizes(prefix: string): Promise<ReadonlyMap<string, number>> {
    try {
      return await this.use((database) => sizes(database, startingWith(prefix)));
    } catch (error) {
      throw storeError(PLACE, error);
    }
  }

  async delete(prefix: string): Promise<void> {
    try {
      await this.use((database) => database.delete(RECORDS, startingWith(prefix)));
    } catch (error) {
      throw storeError(PLACE, error);
    } finally {
      this.reader.forgetAll(prefix);
    }
  }

  close(): void {
    this.closed = true;
    this.connection?.then((database) => database.close()).catch(() => {});
    this.lose();
  }

  async database(): Promise<Database> {
    if (this.closed) throw closedError();
    this.connection ??= connect(this.name, () => this.lose());
    try {
      return await this.connection;
    } catch (error) {
      this.connection = null;
      throw storeError(PLACE, error);
    }
  }

  /**
   * Gives up the connection. The next one may lead to another database (if the site's data was
   * deleted), so the records that were read count as unread.
   */
  private lose(): void {
    this.connection = null;
    this.reader.forgetAll();
  }

  /**
   * Runs `work` on the connection, and once more on a new one if the connection turns out to be
   * closed.
   */
  private async use<T>(work: (database: Database) => Promise<T>): Promise<T> {
    try {
      return await work(await this.database());
    } catch (error) {
      if (nameOf(error) !== "InvalidStateError") throw error;
      this.lose();
      return await work(await this.database());
    }
  }
}

/**
 * Opens the database. `onGone` is called when the connection can no longer be used, because another
 * tab needs a newer version or the browser ended it.
 */
async function connect(name: string, onGone: () => void): Promise<Database> {
  return await new Promise((resolve, reject) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let gaveUp = false;
    const opening = openDB<Schema>(name, VERSION, {
      upgrade(database) {
        database.createObjectStore(RECORDS);
      },
      blocked() {
        timer = setTimeout(() => {
          gaveUp = true;
          reject(new Error("another tab keeps an older version open; close it"));
        }, BLOCKED_MS);
      },
      blocking(_current, _wanted, event) {
        (event.target as IDBDatabase).close();
        onGone();
      },
      terminated: onGone,
    });
    opening.then((database) => {
      clearTimeout(timer);
      if (!gaveUp && database.objectStoreNames.contains(RECORDS)) return resolve(database);
      database.close();
      reject(new Error(`the database ${name} was made by another program`));
    }, reject);
  });
}

/**
 * Writes one record, whole or not at all. If the quota is full the transaction aborts, and its
 * `done` rejects.
 */
async function write(database: Database, key: string, record: StoredRecord): Promise<void> {
  const transaction = database.transaction(RECORDS, "readwrite", { durability: "relaxed" });
  transaction.store.put(record, key).catch(() => {});
  await transaction.done;
}

/** Lengths by key. A record is got without its content, which its Blob leaves on disk. */
async function sizes(database: Database, range: IDBKeyRange): Promise<ReadonlyMap<string, number>> {
  const { store } = database.transaction(RECORDS, "readonly");
  const [keys, records] = await Promise.all([store.getAllKeys(range), store.getAll(range)]);
  return new Map(keys.map((key, index) => [key, records[index]?.bytes ?? 0]));
}

/** The range of keys that begin with `prefix`; keys are compared by UTF-16 code units. */
function startingWith(prefix: string): IDBKeyRange {
  const head = prefix.replace(/\uffff+$/, "");
  if (head === "") return IDBKeyRange.lowerBound(prefix);
  const next = head.slice(0, -1) + String.fromCharCode(head.charCodeAt(head.length - 1) + 1);
  return IDBKeyRange.bound(prefix, next, false, true);
}
