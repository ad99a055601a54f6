import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import { MixtabError } from "../base/errors.ts";
import { sha256 } from "../base/hash.ts";
import type { Store } from "./store.ts";

const VERSION = 1;
const RECORDS = "records";
/** How long a tab with another version may take to let go of the database. */
const BLOCKED_MS = 10_000;

/** A Blob, since an ArrayBuffer inside a record is 3 to 4 times slower to read (Chromium). */
interface StoredRecord {
  readonly blob: Blob;
  readonly bytes: number;
  readonly sha256: string;
}

interface Schema extends DBSchema {
  [RECORDS]: { key: string; value: StoredRecord };
}

type Database = IDBPDatabase<Schema>;

/** Opens the browser's store, shared by all tabs of an origin. Errors: store, where the browser refuses. */
export async function openIndexedDbStore(name = "mixtab"): Promise<Store> {
  const store = new IndexedDbStore(name);
  await store.database();
  return store;
}

class IndexedDbStore implements Store {
  private readonly name: string;
  /** Null before the first use and after another tab, or the browser, has taken the connection away: it is opened again on demand. */
  private connection: Promise<Database> | null = null;
  private closed = false;
  /** By key, the hash of what was found right in this session. */
  private readonly verified = new Map<string, string>();

  constructor(name: string) {
    this.name = name;
  }

  async get(key: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      const record = await this.use((database) => database.get(RECORDS, key));
      if (!record) return undefined;
      const bytes = new Uint8Array(await record.blob.arrayBuffer());
      const known = this.verified.get(key) === record.sha256;
      if (bytes.length === record.bytes && (known || (await sha256(bytes)) === record.sha256)) {
        this.verified.set(key, record.sha256);
        return bytes;
      }
    } catch (error) {
      if (error instanceof MixtabError) throw error;
      if (nameOf(error) === "AbortError") return undefined; // the connection went away, the record need not have
    }
    await this.use((database) => database.delete(RECORDS, key)).catch(() => {}); // else the next put overwrites it
    return undefined;
  }

  async put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const record = { blob: new Blob([bytes]), bytes: bytes.length, sha256: await sha256(bytes) };
    try {
      await this.use((database) => write(database, key, record));
    } catch (error) {
      throw nameOf(error) === "QuotaExceededError" ? await quotaError(bytes.length, error) : storeError(error);
    }
  }

  async keys(prefix: string): Promise<string[]> {
    return await this.use((database) => database.getAllKeys(RECORDS, startingWith(prefix))).catch((error) => {
      throw storeError(error);
    });
  }

  async delete(prefix: string): Promise<void> {
    await this.use((database) => database.delete(RECORDS, startingWith(prefix))).catch((error) => {
      throw storeError(error);
    });
  }

  close(): void {
    this.closed = true;
    this.connection?.then((database) => database.close()).catch(() => {});
    this.connection = null;
  }

  async database(): Promise<Database> {
    if (this.closed) throw new MixtabError("closed", "The store was closed. Open the model again.");
    this.connection ??= connect(this.name, () => {
      this.connection = null;
    });
    try {
      return await this.connection;
    } catch (error) {
      this.connection = null;
      throw storeError(error);
    }
  }

  /** Runs `work` on the connection; once more on a new one where it turns out to be gone. */
  private async use<T>(work: (database: Database) => Promise<T>): Promise<T> {
    try {
      return await work(await this.database());
    } catch (error) {
      if (nameOf(error) !== "InvalidStateError") throw error;
      this.connection = null;
      return await work(await this.database());
    }
  }
}

/** `onGone`: the connection no longer serves, because another tab needs a newer version, or the browser ended it. */
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
      if (gaveUp) database.close();
      else resolve(database);
    }, reject);
  });
}

/** One record, whole or not at all. A full quota aborts the transaction, which is what its `done` reports. */
async function write(database: Database, key: string, record: StoredRecord): Promise<void> {
  const transaction = database.transaction(RECORDS, "readwrite", { durability: "relaxed" });
  transaction.store.put(record, key).catch(() => {});
  await transaction.done;
}

/** The range of keys that begin with `prefix`; keys are compared by UTF-16 code units. */
function startingWith(prefix: string): IDBKeyRange {
  const head = prefix.replace(/\uffff+$/, "");
  if (head === "") return IDBKeyRange.lowerBound(prefix);
  const next = head.slice(0, -1) + String.fromCharCode(head.charCodeAt(head.length - 1) + 1);
  return IDBKeyRange.bound(prefix, next, false, true);
}

async function quotaError(bytes: number, cause: unknown): Promise<MixtabError> {
  // The quota itself is not worth saying: Chromium reports another than it enforces.
  const { usage } = (await globalThis.navigator?.storage?.estimate().catch(() => undefined)) ?? {};
  const beside = usage === undefined ? "" : ` beside the ${usage} that are kept`;
  return new MixtabError(
    "quota",
    `The browser has no more room for this page: ${bytes} bytes could not be stored${beside}. Free disk space, or delete other models.`,
    cause,
  );
}

function storeError(error: unknown): MixtabError {
  if (error instanceof MixtabError) return error;
  const what =
    nameOf(error) === "VersionError"
      ? "it was made by a newer mixtab; reload the page"
      : error instanceof Error
        ? error.message
        : String(error);
  return new MixtabError(
    "store",
    `The browser's database cannot be used: ${what}. Private windows may forbid it; the memory store does without.`,
    error,
  );
}

const nameOf = (error: unknown): string => (error instanceof Error || error instanceof DOMException ? error.name : "");
