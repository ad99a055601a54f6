/** Length (8 bytes, little-endian) and SHA-256 (32 bytes) of the record before them. */
export const TRAILER_BYTES = 40;

/** The trailer of the file that holds a record of `bytes` bytes; `sha256` in hex. */
export function trailer(bytes: number, sha256: string): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(TRAILER_BYTES));
  view.setBigUint64(0, BigInt(bytes), true);
  for (let i = 0; i < 32; i++) view.setUint8(8 + i, Number.parseInt(sha256.slice(2 * i, 2 * i + 2), 16));
  return new Uint8Array(view.buffer);
}

/** Reads a trailer. Throws if it is not TRAILER_BYTES long. */
export function openTrailer(trailer: Uint8Array<ArrayBuffer>): { bytes: number; sha256: string } {
  if (trailer.length !== TRAILER_BYTES) throw new Error("the file is too short for a record");
  const hash = Array.from(trailer.subarray(8), (byte) => byte.toString(16).padStart(2, "0"));
  return { bytes: Number(new DataView(trailer.buffer).getBigUint64(0, true)), sha256: hash.join("") };
}
