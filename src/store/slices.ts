/**
 * The length of the slices in which a record is read; two of them are in memory at most. Shorter
 * slices and much longer ones are read more slowly (bench/RESULTS.md). It must be a multiple of 4,
 * as WebGPU wants of writes to a buffer.
 */
export const SLICE_BYTES = 4 * 1024 * 1024;

/** Reads a record from its beginning, once. */
export interface Slices {
  /** The next `bytes` bytes, at least 1. Rejects if fewer are left. One call at a time. */
  next(bytes: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Ends the reading; a call that is under way rejects. */
  close(): void;
}

/**
 * The slices of a Blob. If the platform's streams can fill a buffer of ours, one stream serves all
 * slices; else each slice is a Blob of its own, which costs a round trip each (Chromium).
 */
export function blobSlices(blob: Blob): Slices {
  const reader = byobReader(blob);
  return reader ? streamed(reader) : cut(blob);
}

/**
 * A reader that fills buffers of ours; null if this platform's Blobs give only streams of chunks of
 * their own choice.
 */
function byobReader(blob: Blob): ReadableStreamBYOBReader | null {
  const stream = blob.stream();
  try {
    return stream.getReader({ mode: "byob" });
  } catch {
    stream.cancel().catch(() => {});
    return null;
  }
}

/**
 * Readers in use. In Chromium a pending read does not keep its stream alive: if only stream and
 * read refer to each other, the garbage collector takes both, and the read never ends.
 */
const inUse = new Set<ReadableStreamBYOBReader>();

function streamed(reader: ReadableStreamBYOBReader): Slices {
  inUse.add(reader);
  return {
    async next(bytes) {
      let slice = new Uint8Array(bytes);
      for (let got = 0; got < bytes; ) {
        // A browser that does not know `min` may read fewer bytes, hence the loop.
        const { value } = await reader.read(slice.subarray(got), { min: bytes - got });
        if (!value?.length) throw new Error("the record ends too soon");
        slice = new Uint8Array(value.buffer);
        got += value.length;
      }
      return slice;
    },
    close() {
      inUse.delete(reader);
      reader.cancel().catch(() => {});
    },
  };
}

function cut(blob: Blob): Slices {
  let at = 0;
  return {
    async next(bytes) {
      const slice = new Uint8Array(await blob.slice(at, at + bytes).arrayBuffer());
      if (slice.length !== bytes) throw new Error("the record ends too soon");
      at += bytes;
      return slice;
    },
    close() {},
  };
}
