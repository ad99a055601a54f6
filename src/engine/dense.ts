import { MixtabError } from "../base/errors.ts";
import { dataRanges, layMatrix, type Matrix } from "../base/matrix.ts";
import { release } from "../base/release.ts";
import type { Checkpoint, MatrixSource } from "../format/checkpoint.ts";
import { weightKey } from "../layers/blueprint.ts";
import type { WeightSpec } from "../layers/builder.ts";
import type { Speaker, Weight } from "../ops/ops.ts";
import { readWhole, type Store } from "../store/store.ts";
import type { OnArrival } from "./arrival.ts";
import { loadedPerPublished, matrixParts, type Reading, readParts } from "./parts.ts";

/**
 * The most bytes that one record of a dense matrix has in the store. A longer matrix is cut into
 * several pieces, which are also the unit in memory.
 */
export const PIECE_BYTES = 64 * 1024 * 1024;
/** Neighbouring matrices are read together up to so many bytes, so that they share requests. */
const WINDOW_BYTES = 32 * 1024 * 1024;

/** A dense matrix before it is loaded. */
export interface DenseModule {
  /** The key that `weightKey` gives. */
  readonly key: string;
  readonly role: WeightSpec["role"];
  readonly source: MatrixSource;
  readonly matrix: Matrix;
  /** See `WeightSpec.plus`. */
  readonly plus?: number | undefined;
}

/**
 * Says where a matrix is published, and how it will lie on the device: as published, quantised, or
 * (for norms) widened to f32.
 */
export function denseModule(spec: WeightSpec, checkpoint: Checkpoint, onArrival: OnArrival): DenseModule {
  const key = weightKey(spec);
  const { role } = spec;
  const [rows, columns] = spec.shape;
  if (role === "norm") {
    const plain = checkpoint.findPlain(spec.names, rows, columns);
    const matrix = layMatrix(rows, columns, { kind: "plain", dtype: "f32" });
    return { key, role, source: plain, matrix, plus: spec.plus };
  }
  const source = checkpoint.find(spec.names, rows, columns);
  return { key, role, source, matrix: layMatrix(rows, columns, onArrival(source, spec)) };
}

interface DenseLoading {
  readonly speaker: Speaker;
  readonly store: Store | null;
  readonly prefix: string;
  readonly reading: Reading;
  /**
   * Is called with how many bytes of the loaded form have come, also while a matrix is still
   * arriving.
   */
  readonly onLoaded: (bytes: number, from: "store" | "network") => void;
  /** Is called when the store could not take a record of so many bytes. The loading goes on. */
  readonly onUnkept: (bytes: number, error: MixtabError) => void;
}

/**
 * Loads dense matrices onto the device and returns them in their order. Those in the store are read
 * from there; the others are read from the source and put into the store.
 */
export async function loadDense(modules: readonly DenseModule[], loading: DenseLoading): Promise<Weight[]> {
  const placed = modules.map((module) => ({ ...module, weight: loading.speaker.weight(module.matrix) }));
  const missing: Placed[] = [];
  for (const module of placed) {
    loading.reading.signal?.throwIfAborted();
    if (!(await loadStored(module, loading))) missing.push(module);
  }
  for (const window of windows(missing)) await loadWindow(window, loading);
  return placed.map(({ weight }) => weight);
}

/** A module with its place on the device. */
type Placed = DenseModule & { readonly weight: Weight };

async function loadStored({ key, matrix, weight }: Placed, loading: DenseLoading): Promise<boolean> {
  const { store, prefix, speaker, onLoaded } = loading;
  if (!store) return false;
  for (const [index, { begin, end }] of piecesOf(matrix).entries()) {
    const bytes = await readWhole(store, `${prefix}dense/${key}/${index}`);
    if (bytes?.length !== end - begin) return false;
    speaker.write(weight, begin, bytes);
    release(bytes);
  }
  onLoaded(matrix.end, "store");
  return true;
}

function windows(modules: readonly Placed[]): Placed[][] {
  const groups: Placed[][] = [];
  let bytes = 0;
  for (const module of modules) {
    const group = groups.at(-1);
    bytes += module.matrix.end;
    if (group && bytes <= WINDOW_BYTES) group.push(module);
    else {
      groups.push([module]);
      bytes = module.matrix.end;
    }
  }
  return groups;
}

async function loadWindow(window: readonly Placed[], loading: DenseLoading): Promise<void> {
  const kept: Promise<void>[] = [];
  const parts = window.flatMap(({ key, source, matrix, weight, plus }) => {
    const gather = new Gather(matrix, (index, begin, bytes) => {
      loading.speaker.write(weight, begin, bytes);
      const put = keep(`${loading.prefix}dense/${key}/${index}`, bytes, loading);
      kept.push(put.then(() => release(bytes)));
    });
    return matrixParts(source, matrix, (offset, bytes) => gather.write(offset, bytes), plus);
  });
  const ratio = loadedPerPublished(
    window.map(({ matrix }) => matrix.end),
    parts,
  );
  try {
    await readParts(parts, { ...loading.reading, onBytes: (bytes) => loading.onLoaded(bytes * ratio, "network") });
  } finally {
    await Promise.all(kept); // also before a failure is told: then nothing writes to the store any more
  }
}

/**
 * Puts a record into the store. If the store refuses it (the quota is used up), the loading goes
 * on.
 */
async function keep(key: string, bytes: Uint8Array<ArrayBuffer>, { store, onUnkept }: DenseLoading): Promise<void> {
  try {
    await store?.put(key, bytes);
  } catch (error) {
    if (!(error instanceof MixtabError)) throw error;
    onUnkept(bytes.length, error);
  }
}

/**
 * The pieces into which a matrix is cut: a short one is one piece; a longer one is cut range by
 * range. Weight, scales and biases arrive side by side when a matrix is quantised. Since no piece
 * spans two ranges, few pieces are open at a time.
 */
function piecesOf({ weight, scales, biases, end }: Matrix): { begin: number; end: number }[] {
  if (end <= PIECE_BYTES) return [{ begin: 0, end }];
  const bounds = [weight, scales, biases].filter((begin, index) => index === 0 || begin > 0).concat(end);
  const pieces: { begin: number; end: number }[] = [];
  for (const [index, limit] of bounds.slice(1).entries())
    for (let begin = bounds[index]!; begin < limit; begin += PIECE_BYTES)
      pieces.push({ begin, end: Math.min(begin + PIECE_BYTES, limit) });
  return pieces;
}

/** How many bytes of data, not counting padding, lie within a piece. */
const dataBytes = (matrix: Matrix, piece: { begin: number; end: number }): number =>
  dataRanges(matrix)
    .map(({ begin, end }) => Math.max(0, Math.min(end, piece.end) - Math.max(begin, piece.begin)))
    .reduce((sum, bytes) => sum + bytes);

/**
 * Gathers bytes that are written at any offset into pieces, and hands each piece on when all its
 * data has been written.
 */
class Gather {
  private readonly pieces: { begin: number; end: number; missing: number; bytes?: Uint8Array<ArrayBuffer> }[];
  private readonly take: (index: number, begin: number, bytes: Uint8Array<ArrayBuffer>) => void;

  constructor(matrix: Matrix, take: Gather["take"]) {
    this.pieces = piecesOf(matrix).map((piece) => ({ ...piece, missing: dataBytes(matrix, piece) }));
    this.take = take;
  }

  write(offset: number, bytes: Uint8Array<ArrayBuffer>): void {
    for (const [index, piece] of this.pieces.entries()) {
      const from = Math.max(offset, piece.begin);
      const to = Math.min(offset + bytes.length, piece.end);
      if (from >= to) continue;
      piece.bytes ??= new Uint8Array(piece.end - piece.begin);
      piece.bytes.set(bytes.subarray(from - offset, to - offset), from - piece.begin);
      piece.missing -= to - from;
      if (piece.missing > 0) continue;
      this.take(index, piece.begin, piece.bytes);
      delete piece.bytes;
    }
  }
}
