import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import { sha256 } from "../base/hash.ts";
import { closedError, nameOf, storeError, writeError } from "./errors.ts";
import { inTime, Overdue, PATIENCE, type Patience } from "./patience.ts";
import { keptBlob, RecordReader } from "./reader.ts";
import type { Accept, Store } from "./store.ts";

const VERSION = 1;
const RECORDS = "records";
const PLACE = "database";

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
 * refuses or does not answer.
 */
export async function openIndexedDbStore(name = "mixtab", patience = PATIENCE): Promise<Store> {
  const store = new IndexedDbStore(name, patience);
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
  private readonly patience: Patience;
  private readonly reader: RecordReader;

  constructor(name: string, patience: Patience) {
    this.name = name;
    this.patience = patience;
    const shelves = {
      find: async (key: string) => {
        const record = await this.use((database) => database.get(RECORDS, key));
        return record && keptBlob(record.blob, record.bytes, record.sha256);
      },
      remove: (key: string) => this.use((database) => database.delete(RECORDS, key)),
      lost: () => this.lose(),
    };
    this.reader = new RecordReader(shelves, { patience });
  }

  async read(key: string, accept: Accept, signal?: AbortSignal): Promise<number | undefined> {
    if (this.closed) throw closedError();
    return await this.reader.read(key, accept, signal);
  }

  async put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const record = { blob: new Blob([bytes]), bytes: bytes.length, sha256: await sha256(bytes) };
    try {
      await this.use((database) => write(database, key, record), bytes.length);
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

  doubt(): void {
    this.reader.forgetAll();
  }

  close(): void {
    this.closed = true;
    this.lose();
  }

  async database(): Promise<Database> {
    if (this.closed) throw closedError();
    this.connection ??= this.connect();
    try {
      return await this.connection;
    } catch (error) {
      this.connection = null;
      throw storeError(PLACE, error);
    }
  }

  /** Opens the database; where that comes too late, closes it again. */
  private async connect(): Promise<Database> {
    const opening = connect(this.name, () => this.lose());
    try {
      return await inTime(opening, this.patience);
    } catch (error) {
      opening.then((database) => database.close()).catch(() => {});
      throw error;
    }
  }

  /**
   * Gives up the connection. The next one may lead to another database (if the site's data was
   * deleted), so the records that were read count as unread.
   */
  private lose(): void {
    this.connection?.then((database) => database.close()).catch(() => {});
    this.connection = null;
    this.reader.forgetAll();
  }

  /**
   * Runs `work` on the connection, and once more on a new one if the connection turns out to be
   * closed. `bytes`: how many are written.
   */
  private async use<T>(work: (database: Database) => Promise<T>, bytes = 0): Promise<T> {
    const once = async () => await inTime(work(await this.database()), this.patience, bytes);
    try {
      return await once();
    } catch (error) {
      if (error instanceof Overdue) this.lose();
      if (nameOf(error) !== "InvalidStateError") throw error;
      this.lose();
      return await once();
    }
  }
}

/**
 * Opens the database. `onGone` is called when the connection can no longer be used, because another
 * tab needs a newer version or the browser ended it.
 */
async function connect(name: string, onGone: () => void): Promise<Database> {
  const database = await openDB<Schema>(name, VERSION, {
    upgrade(made) {
      made.createObjectStore(RECORDS);
    },
    blocking(_current, _wanted, event) {
      (event.target as IDBDatabase).close();
      onGone();
    },
    terminated: onGone,
  });
  if (database.objectStoreNames.contains(RECORDS)) return database;
  database.close();
  throw new Error(`the database ${name} was made by another program`);
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
