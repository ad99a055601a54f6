/**
 * A file of the origin private file system, with the methods that TypeScript's types of a page
 * leave out.
 */
export interface MovableFile extends FileSystemFileHandle {
  /** Moves the file, over a file of that name where the browser allows it. */
  move(folder: FileSystemDirectoryHandle, name: string): Promise<void>;
  /** Exists in dedicated workers only. */
  createSyncAccessHandle?(): Promise<SyncAccess>;
}

interface SyncAccess {
  write(bytes: Uint8Array, options: { at: number }): number;
  flush(): void;
  close(): void;
}

/**
 * Writes a new file's content. Errors: the browser's; QuotaExceededError also where it wrote less
 * than it was given.
 */
export async function writeFile(file: MovableFile, parts: readonly Uint8Array<ArrayBuffer>[]): Promise<void> {
  if (file.createSyncAccessHandle) writeAtOnce(await file.createSyncAccessHandle(), parts);
  else await writeStream(await file.createWritable(), parts);
}

/**
 * Writes with the synchronous access of workers: quicker than the stream, and the only way in
 * Safari before 26.
 */
function writeAtOnce(access: SyncAccess, parts: readonly Uint8Array<ArrayBuffer>[]): void {
  try {
    let at = 0;
    for (const part of parts) {
      const written = access.write(part, { at });
      if (written !== part.length) throw new DOMException("the file system is full", "QuotaExceededError");
      at += written;
    }
    access.flush();
  } finally {
    access.close();
  }
}

async function writeStream(
  stream: FileSystemWritableFileStream,
  parts: readonly Uint8Array<ArrayBuffer>[],
): Promise<void> {
  try {
    for (const part of parts) await stream.write(part);
    await stream.close();
  } catch (error) {
    await stream.abort().catch(() => {});
    throw error;
  }
}
