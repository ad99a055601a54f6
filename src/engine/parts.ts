import { assert } from "../base/assert.ts";
import {
  type Affine,
  type Encoding,
  FLOAT_BYTES,
  type Float,
  type Matrix,
  rangeBytes,
  sameEncoding,
} from "../base/matrix.ts";
import { release } from "../base/release.ts";
import type { FileRange, MatrixSource } from "../format/checkpoint.ts";
import { decodeFloats, encodeFloats } from "../format/floats.ts";
import { quantizeRows } from "../format/quantize.ts";
import type { Source } from "../source/source.ts";
import type { Connections, Purpose } from "./connections.ts";

/** A range of a file and where its bytes go: `accept` gets them in order. */
export interface Part {
  readonly range: FileRange;
  readonly accept: (bytes: Uint8Array<ArrayBuffer>) => void;
}

export type Write = (offset: number, bytes: Uint8Array<ArrayBuffer>) => void;

/**
 * Parts next to each other in a file, with at most this much between them, are one request. More
 * than padding may be of another matrix, whose bytes are not to be fetched twice.
 */
const GAP_BYTES = 64;
/** A request is not extended beyond this. */
const REQUEST_BYTES = 8 * 1024 * 1024;

/** Whether a matrix is stored in this encoding as it is published, byte for byte. */
export const isCopied = ({ encoding, transposed }: MatrixSource, stored: Encoding): boolean =>
  !transposed && sameEncoding(encoding, stored);

/**
 * What to read, and how it becomes `target`: copied as published; or widened, transposed, or
 * quantised row by row as it arrives. Nothing if `target` lies in the ranges of another matrix,
 * which brings them.
 */
export function matrixParts(source: MatrixSource, target: Matrix, write: Write, plus = 0): Part[] {
  const { encoding } = source;
  if (isCopied(source, target.encoding) && plus === 0) {
    assert(target.stride === strideOf(source), "rows lie as published");
    if (target.first > 0) return [];
    const parts = [copy(source.weight, target.weight, write)];
    if (source.scales) parts.push(copy(source.scales, target.scales, write));
    if (source.biases) parts.push(copy(source.biases, target.biases, write));
    return parts;
  }
  assert(encoding.kind === "plain" && target.stride === 1, "only plain floats are converted on arrival");
  const { dtype } = encoding;
  const take = arrange(source, convert(target, dtype, write, plus));
  return [{ range: source.weight, accept: inRows(publishedShape(source), dtype, take) }];
}

/** Parts of the same range become one, so that it is read once. */
export function joined(parts: readonly Part[]): Part[] {
  const known = new Map<string, Part>();
  for (const part of parts) {
    const { file, begin, end } = part.range;
    const key = `${begin} ${end} ${file}`;
    const other = known.get(key);
    const accept: Part["accept"] = (bytes) => {
      other?.accept(bytes);
      part.accept(bytes);
    };
    known.set(key, other ? { range: part.range, accept } : part);
  }
  return [...known.values()];
}

/** Rows of floats of type `published`, as bytes of the target. */
function convert({ encoding, ...target }: Matrix, published: Float, write: Write, plus: number): TakeRows {
  assert(encoding.kind !== "codebook", "no matrix is quantised to a codebook on arrival");
  switch (encoding.kind) {
    case "plain":
      assert(encoding.dtype === "f32" || encoding.dtype === published, "floats are only widened");
      return store(target, encoding.dtype, write, plus);
    case "affine":
      return quantise(target, encoding, write);
    default:
      return encoding satisfies never;
  }
}

const strideOf = ({ everySecond }: MatrixSource): number => (everySecond === undefined ? 1 : 2);

/** The rows and columns of what a source's range holds. */
function publishedShape(source: MatrixSource): Shape {
  const { columns, transposed } = source;
  const rows = source.rows * strideOf(source);
  return transposed ? { rows: columns, columns: rows } : { rows, columns };
}

/** Takes rows as they are published, and hands on the matrix's own. */
function arrange(source: MatrixSource, take: TakeRows): TakeRows {
  const { columns, everySecond, transposed } = source;
  if (transposed) return transpose(source, take);
  if (everySecond === undefined) return take;
  return (values, firstRow) => {
    const rows = values.length / columns;
    const skipped = Math.abs((firstRow % 2) - everySecond);
    const own = new Float32Array(Math.ceil((rows - skipped) / 2) * columns);
    for (let row = skipped; row < rows; row += 2)
      own.set(values.subarray(row * columns, (row + 1) * columns), ((row - skipped) / 2) * columns);
    if (own.length > 0) take(own, (firstRow + skipped - everySecond) / 2);
  };
}

/** Takes the rows of the transposed matrix, and hands the matrix on when all have come. */
function transpose(source: MatrixSource, take: TakeRows): TakeRows {
  const { rows, columns, everySecond = 0 } = source;
  const stride = strideOf(source);
  let matrix: Float32Array<ArrayBuffer> | undefined;
  return (values, firstColumn) => {
    matrix ??= new Float32Array(rows * columns);
    const published = rows * stride;
    const count = values.length / published;
    for (let row = 0; row < rows; row++)
      for (let i = 0; i < count; i++)
        matrix[row * columns + firstColumn + i] = values[i * published + everySecond + row * stride]!;
    if (firstColumn + count < columns) return;
    take(matrix, 0);
    release(new Uint8Array(matrix.buffer));
    matrix = undefined;
  };
}

const copy = (range: FileRange, offset: number, write: Write): Part => {
  let at = offset;
  return {
    range,
    accept(bytes) {
      write(at, bytes);
      at += bytes.length;
    },
  };
};

type Shape = Pick<Matrix, "rows" | "columns">;

type TakeRows = (values: Float32Array<ArrayBuffer>, firstRow: number) => void;

/** Rows are decoded together up to this much, at least one. */
const BLOCK_BYTES = 256 * 1024;

/** Gathers pieces into blocks of whole rows and decodes them, always into the same memory. */
function inRows({ rows, columns }: Shape, dtype: Float, take: TakeRows): Part["accept"] {
  const rowBytes = columns * FLOAT_BYTES[dtype];
  const blockRows = Math.min(rows, Math.max(1, Math.floor(BLOCK_BYTES / rowBytes)));
  let block: Uint8Array<ArrayBuffer> | undefined;
  let values: Float32Array<ArrayBuffer> | undefined;
  let filled = 0;
  let row = 0;
  return (piece) => {
    block ??= new Uint8Array(blockRows * rowBytes);
    values ??= new Float32Array(blockRows * columns);
    for (let at = 0; at < piece.length; ) {
      const due = Math.min(blockRows, rows - row);
      const count = Math.min(piece.length - at, due * rowBytes - filled);
      block.set(piece.subarray(at, at + count), filled);
      at += count;
      filled += count;
      if (filled < due * rowBytes) return;
      take(decodeFloats(dtype, block.subarray(0, filled), values.subarray(0, due * columns)), row);
      row += due;
      filled = 0;
      if (row < rows) continue;
      release(block);
      release(new Uint8Array(values.buffer));
    }
  };
}

type LaidOut = Omit<Matrix, "encoding">;

const store =
  ({ weight, columns }: LaidOut, dtype: Float, write: Write, plus: number): TakeRows =>
  (values, firstRow) => {
    for (let i = 0; i < values.length; i++) values[i]! += plus;
    write(weight + firstRow * columns * FLOAT_BYTES[dtype], encodeFloats(dtype, values));
  };

function quantise({ columns, ...at }: LaidOut, encoding: Affine, write: Write): TakeRows {
  return (values, firstRow) => {
    const row = rangeBytes(firstRow, columns, encoding);
    const words = quantizeRows(values, columns, encoding);
    for (const part of ["weight", "scales", "biases"] as const) {
      write(at[part] + row[part], words[part]);
      release(words[part]);
    }
  };
}

/** What a published byte counts in the loaded form, which may be shorter: for progress. */
export function loadedPerPublished(loadedBytes: readonly number[], parts: readonly Part[]): number {
  const published = parts.reduce((sum, { range }) => sum + range.end - range.begin, 0);
  return loadedBytes.reduce((sum, bytes) => sum + bytes, 0) / published;
}

export interface Reading {
  readonly source: Source;
  readonly connections: Connections;
  /** Whether somebody waits for the answer; else it is the background fill. */
  readonly purpose: Purpose;
  readonly signal?: AbortSignal | undefined;
  /** Told of bytes as they arrive. */
  readonly onBytes?: (count: number) => void;
}

/**
 * Reads all parts, neighbours in one request, several requests at a time. The first failure stops
 * the others.
 */
export async function readParts(parts: readonly Part[], reading: Reading): Promise<void> {
  const { connections, purpose } = reading;
  const stop = new AbortController();
  const signal = reading.signal ? AbortSignal.any([reading.signal, stop.signal]) : stop.signal;
  const requests = neighbours(parts).map((run) => connections.run(purpose, () => request(run, reading, signal)));
  const first = Promise.all(requests);
  first.catch((reason) => stop.abort(reason));
  await Promise.allSettled(requests);
  await first;
}

function neighbours(parts: readonly Part[]): Part[][] {
  const sorted = [...parts].sort((a, b) =>
    a.range.file === b.range.file ? a.range.begin - b.range.begin : a.range.file < b.range.file ? -1 : 1,
  );
  const runs: Part[][] = [];
  for (const part of sorted) {
    const run = runs.at(-1);
    const last = run?.at(-1)?.range;
    const joins =
      last?.file === part.range.file &&
      part.range.begin >= last.end &&
      part.range.begin - last.end <= GAP_BYTES &&
      part.range.end - run![0]!.range.begin <= REQUEST_BYTES;
    if (joins) run!.push(part);
    else runs.push([part]);
  }
  return runs;
}

/** One request for parts that lie next to each other. */
async function request(run: readonly Part[], { source, onBytes }: Reading, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { file, begin } = run[0]!.range;
  const { end } = run.at(-1)!.range;
  let at = begin;
  let index = 0;
  for await (const piece of source.read(file, begin, end, signal)) {
    const pieceEnd = at + piece.length;
    for (; index < run.length; index++) {
      const { range, accept } = run[index]!;
      const from = Math.max(range.begin, at);
      const to = Math.min(range.end, pieceEnd);
      if (from < to) accept(piece.subarray(from - at, to - at));
      if (range.end > pieceEnd) break;
    }
    at = pieceEnd;
    onBytes?.(piece.length);
  }
}
