/**
 * What a record is read in, and what the heap holds of it twice. Shorter slices and much longer
 * ones are read more slowly (bench/RESULTS.md). A multiple of 16, as what is written to a GPU's
 * buffer must be of 4.
 */
export const SLICE_BYTES = 4 * 1024 * 1024;

/** Reads a record from its beginning, once. */
export interface Slices {
  /**
   * The next `bytes` bytes, at least 1. Rejects where there are not so many. One call at a time.
   */
  next(bytes: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Ends the reading; a call that is under way rejects. */
  close(): void;
}

/**
 * The slices of a Blob: from one stream where it fills memory of ours, since a Blob per slice costs
 * a round trip each (Chromium).
 */
export function blobSlices(blob: Blob): Slices {
  const reader = byobReader(blob);
  return reader ? streamed(reader) : cut(blob);
}

/** null: this platform's Blobs give streams of chunks of its own choice. */
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
 * Readers in use. A pending read does not keep its stream alive in Chromium: a garbage collection
 * takes both where only they know of each other, and the read never ends.
 */
const inUse = new Set<ReadableStreamBYOBReader>();

function streamed(reader: ReadableStreamBYOBReader): Slices {
  inUse.add(reader);
  return {
    async next(bytes) {
      let slice = new Uint8Array(bytes);
      for (let got = 0; got < bytes; ) {
        // Where `min` is not known the read ends sooner, hence the loop.
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
