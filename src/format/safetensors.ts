import { assert } from "../base/assert.ts";
import { MixtabError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import { duplicateKey } from "./json_keys.ts";

/**
 * The longest header that is read, which is the limit of the reference reader. Headers of a
 * 47-billion-parameter model have about 100 KiB per file.
 */
const MAX_HEADER_BYTES = 100_000_000;
/** Published tensors have at most 5 dimensions; a longer list is a damaged or hostile file. */
const MAX_RANK = 16;
/** A file begins with the length of its header, a little-endian u64. */
const LENGTH_BYTES = 8;

/** Bits per element of every type that the format has (safetensors 0.8). */
const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type Dtype = keyof typeof DTYPE_BITS;

/**
 * Where a tensor lies: bytes [begin, end) of the file, counted from its beginning. `begin` may be
 * odd. The elements are row-major and little-endian.
 */
export interface TensorEntry {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * The size of a file's header in bytes, including its length field. `first8`: the first 8 bytes of
 * the file. Errors: bad-safetensors.
 */
export function headerBytes(first8: Uint8Array, fileBytes: number): number {
  if (fileBytes < LENGTH_BYTES || first8.length < LENGTH_BYTES)
    throw bad(`the file has ${fileBytes} bytes, too few for a header length`);
  const length = new DataView(first8.buffer, first8.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES)
    throw bad(`the header length is ${length}, more than the ${MAX_HEADER_BYTES} bytes allowed`);
  const bytes = LENGTH_BYTES + Number(length);
  if (bytes > fileBytes) throw bad(`the header length is ${length}, beyond the end of a file of ${fileBytes} bytes`);
  return bytes;
}

/**
 * Reads a safetensors header. `head`: the file's beginning, at least {@link headerBytes} of it;
 * `fileBytes`: the file's length. The reader is as strict as the format's README: every byte after
 * the header belongs to exactly one tensor, and names are unique. Errors: bad-safetensors, which
 * says what is wrong in which tensor.
 * @see https://github.com/huggingface/safetensors#format
 */
export function parseSafetensorsHeader(head: Uint8Array, fileBytes: number): SafetensorsHeader {
  const dataBegin = headerBytes(head, fileBytes);
  assert(head.length >= dataBegin, "the header is there as a whole");
  const json = parseJson(head.subarray(LENGTH_BYTES, dataBegin));
  const tensors = new Map<string, TensorEntry>();
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") metadata = parseMetadata(value);
    else tensors.set(name, parseTensor(name, value, dataBegin, fileBytes));
  }
  checkCoverage(tensors, dataBegin, fileBytes);
  return { tensors, metadata };
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  if (bytes[0] !== 0x7b) throw bad('the header is not JSON that begins with "{"');
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw bad("the header is not valid UTF-8", cause);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw bad("the header is not valid JSON", cause);
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw bad(`the header has a duplicate key, ${quote(twice)}`);
  return json as Record<string, unknown>;
}

function parseMetadata(value: unknown): ReadonlyMap<string, string> {
  if (!isObject(value)) throw bad("__metadata__ is not an object");
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") throw bad(`__metadata__ entry ${quote(key)} is not a string`);
    metadata.set(key, text);
  }
  return metadata;
}

function parseTensor(name: string, value: unknown, dataBegin: number, fileBytes: number): TensorEntry {
  const wrong = (what: string) => bad(`tensor ${quote(name)}: ${what}`);
  if (!isObject(value)) throw wrong("its entry is not an object");
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPE_BITS, dtype)) throw wrong(`unknown dtype ${quote(dtype)}`);
  if (!isCounts(shape) || shape.length > MAX_RANK)
    throw wrong(`its shape is not a list of at most ${MAX_RANK} whole numbers from 0`);
  if (!isCounts(offsets) || offsets.length !== 2) throw wrong("data_offsets are not two whole numbers from 0");
  const [first, last] = offsets as [number, number];
  if (first > last || last > fileBytes - dataBegin)
    throw wrong(`data_offsets ${first} to ${last} are not within the ${fileBytes - dataBegin} bytes of data`);
  const bits = tensorBits(shape, DTYPE_BITS[dtype as Dtype]);
  if (bits === undefined) throw wrong(`its shape ${quote(shape)} has more elements than can be counted`);
  if (bits !== (last - first) * 8)
    throw wrong(`its shape ${quote(shape)} in ${dtype} takes ${bits / 8} bytes, and it has ${last - first}`);
  return { dtype: dtype as Dtype, shape, begin: dataBegin + first, end: dataBegin + last };
}

/** The size of a tensor in bits; undefined if it is too large for a number to be exact. */
function tensorBits(shape: readonly number[], elementBits: number): number | undefined {
  let bits = elementBits;
  for (const size of shape) {
    bits *= size;
    if (!Number.isSafeInteger(bits)) return undefined;
  }
  return bits;
}

/**
 * Throws unless the tensors, in the order of their data, follow one another without overlap or hole
 * from the end of the header to the end of the file.
 */
function checkCoverage(tensors: ReadonlyMap<string, TensorEntry>, dataBegin: number, fileBytes: number): void {
  const byPlace = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let at = dataBegin;
  for (const [name, { begin, end }] of byPlace) {
    const offset = begin - dataBegin;
    if (begin < at)
      throw bad(`tensor ${quote(name)}: its data_offsets overlap another tensor, at byte ${offset} of the data`);
    if (begin > at)
      throw bad(
        `tensor ${quote(name)}: its data_offsets leave a hole, bytes ${at - dataBegin} to ${offset} of the data belong to no tensor`,
      );
    at = end;
  }
  if (at !== fileBytes)
    throw bad(`the data_offsets end ${fileBytes - at} bytes before the file: bytes at its end belong to no tensor`);
}

function isCounts(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((number) => Number.isSafeInteger(number) && number >= 0);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bad(what: string, cause?: unknown): MixtabError {
  const next = "The file is damaged or not in safetensors format: fetch it again, or choose another copy of the model.";
  return new MixtabError("bad-safetensors", `Bad safetensors header: ${what}. ${next}`, cause);
}
