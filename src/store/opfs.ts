import { MixtabError } from "../base/errors.ts";
import { sha256 } from "../base/hash.ts";
import { closedError, nameOf, storeError, writeError } from "./errors.ts";
import { type FilePath, fileOf, keyOf } from "./file_names.ts";
import { inTime, PATIENCE, type Patience } from "./patience.ts";
import { type Kept, keptBlob, RecordReader } from "./reader.ts";
import type { Accept, Store } from "./store.ts";
import { openTrailer, TRAILER_BYTES, trailer } from "./trailer.ts";
import { type MovableFile, writeFile } from "./write_file.ts";

const PLACE = "private file system";
/**
 * How often to try, and how long to wait in between, while another tab uses a file. It needs the
 * file no longer than a write takes.
 */
const TRIES = 40;
const PAUSE_MS = 25;

/**
 * Opens a store of files in the origin private file system, shared by all tabs of an origin. A
 * record is a file: its bytes, then a trailer with their length and hash. A file is written under
 * another name and then moved, so that nobody finds half a record. Errors: store, where the browser
 * has no such file system or refuses.
 */
export async function openOpfsStore(name = "mixtab", patience = PATIENCE): Promise<Store> {
  if (typeof FileSystemFileHandle === "undefined" || !("move" in FileSystemFileHandle.prototype))
    throw new MixtabError(
      "store",
      'There is no private file system here, or none whose files can be moved. It needs a newer browser and https or localhost; the store "indexeddb" does without.',
    );
  const store = new OpfsStore(name, patience);
  try {
    await inTime(store.clean(), patience);
  } catch (error) {
    throw storeError(PLACE, error);
  }
  return store;
}

class OpfsStore implements Store {
  private readonly name: string;
  private readonly patience: Patience;
  private closed = false;
  private readonly reader: RecordReader;

  constructor(name: string, patience: Patience) {
    this.name = name;
    this.patience = patience;
    const shelves = {
      find: (key: string) => inTime(this.find(fileOf(key)), patience),
      remove: (key: string) => inTime(this.remove(fileOf(key)), patience),
    };
    this.reader = new RecordReader(shelves, { patience });
  }

  async read(key: string, accept: Accept, signal?: AbortSignal): Promise<number | undefined> {
    if (this.closed) throw closedError();
    return await this.reader.read(key, accept, signal);
  }

  async put(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.closed) throw closedError();
    try {
      const end = trailer(bytes.length, await sha256(bytes));
      const write = withLock(this.lock, { mode: "shared" }, () => this.write(fileOf(key), [bytes, end]));
      await inTime(write, this.patience, bytes.length);
    } catch (error) {
      throw await writeError(PLACE, bytes.length, error);
    } finally {
      this.reader.forget(key);
    }
  }

  async keys(prefix: string): Promise<string[]> {
    return [...(await this.files(prefix)).keys()];
  }

  async sizes(prefix: string): Promise<ReadonlyMap<string, number>> {
    const sizes = new Map<string, number>();
    for (const [key, handle] of await this.files(prefix)) {
      const file = await inTime(handle.getFile(), this.patience).catch(() => undefined); // another tab may have removed it
      if (file) sizes.set(key, Math.max(0, file.size - TRAILER_BYTES));
    }
    return sizes;
  }

  async delete(prefix: string): Promise<void> {
    try {
      for (const key of await this.keys(prefix)) await inTime(this.remove(fileOf(key)), this.patience);
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
    this.reader.forgetAll();
  }

  /**
   * Removes the unfinished files of writers that were cut off, for example by closing a tab; does
   * nothing while somebody writes. Fails where there is no room even for folders.
   */
  async clean(): Promise<void> {
    const root = await this.root();
    await this.folder("records");
    await withLock(this.lock, { mode: "exclusive", ifAvailable: true }, () => removeEntry(root, "writing"));
  }

  /** The files of the records whose keys begin with `prefix`, by key, in order. */
  private async files(prefix: string): Promise<ReadonlyMap<string, FileSystemFileHandle>> {
    if (this.closed) throw closedError();
    const list = async () => {
      const found: [string, FileSystemFileHandle][] = [];
      for await (const { path, handle } of files(await this.folder("records"), [])) found.push([keyOf(path), handle]);
      const asked = found.filter(([key]) => key.startsWith(prefix));
      return new Map(asked.sort(([a], [b]) => (a < b ? -1 : 1)));
    };
    try {
      return await inTime(list(), this.patience);
    } catch (error) {
      throw storeError(PLACE, error);
    }
  }

  private async find(path: FilePath): Promise<Kept | undefined> {
    let file: File;
    try {
      const folder = await this.folder("records", path.folders, false);
      file = await (await folder.getFileHandle(path.name)).getFile();
    } catch (error) {
      if (nameOf(error) === "NotFoundError") return undefined;
      throw error;
    }
    const bytes = file.size - TRAILER_BYTES;
    const end = openTrailer(new Uint8Array(await file.slice(Math.max(0, bytes)).arrayBuffer()));
    return keptBlob(file.slice(0, Math.max(0, bytes)), end.bytes, end.sha256);
  }

  private async write(path: FilePath, parts: readonly Uint8Array<ArrayBuffer>[]): Promise<void> {
    const writing = await this.folder("writing");
    const name = crypto.randomUUID();
    const file = (await writing.getFileHandle(name, { create: true })) as MovableFile;
    try {
      await writeFile(file, parts);
      const folder = await this.folder("records", path.folders);
      await patiently(async (again) => {
        // Some browsers move a file over another, others only to a name that is free.
        if (again) await removeEntry(folder, path.name).catch(() => {});
        await file.move(folder, path.name);
      });
    } catch (error) {
      await patiently(() => removeEntry(writing, name)).catch(() => {});
      throw error;
    }
  }

  private async remove({ folders, name }: FilePath): Promise<void> {
    const folder = await this.folder("records", folders);
    await patiently(() => removeEntry(folder, name));
  }

  /** Opens a folder anew each time, since a person may delete the site's data in between. */
  private async folder(kind: "records" | "writing", inner: readonly string[] = [], create = true) {
    let folder = await this.root();
    for (const name of [kind, ...inner]) folder = await folder.getDirectoryHandle(name, { create });
    return folder;
  }

  private async root(): Promise<FileSystemDirectoryHandle> {
    return await (await navigator.storage.getDirectory()).getDirectoryHandle(this.name, { create: true });
  }

  /**
   * The name of the lock that every writer holds, so that `clean` does not take unfinished files
   * for leftovers.
   */
  private get lock(): string {
    return `mixtab-opfs/${this.name}`;
  }
}

interface FoundFile {
  readonly path: FilePath;
  readonly handle: FileSystemFileHandle;
}

async function* files(folder: FileSystemDirectoryHandle, folders: readonly string[]): AsyncGenerator<FoundFile> {
  for await (const [name, handle] of folder.entries()) {
    if (handle.kind === "file") yield { path: { folders, name }, handle: handle as FileSystemFileHandle };
    else yield* files(handle as FileSystemDirectoryHandle, [...folders, name]);
  }
}

/** Removes a file or folder if it is there. */
async function removeEntry(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  try {
    await folder.removeEntry(name, { recursive: true });
  } catch (error) {
    if (nameOf(error) !== "NotFoundError") throw error;
  }
}

/** Repeats `work` while another tab uses the file. `again`: this is not the first try. */
async function patiently(work: (again: boolean) => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await work(tries > 1);
    } catch (error) {
      const busy = /^(NoModificationAllowed|InvalidModification|InvalidState)Error$/.test(nameOf(error));
      if (!busy || tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

/**
 * Does `work` under a Web Lock; skips it if `options` ask for a lock that must be free and it is
 * not.
 */
async function withLock(name: string, options: LockOptions, work: () => Promise<void>): Promise<void> {
  await navigator.locks.request(name, options, async (lock) => {
    if (lock) await work();
  });
}
