import { MixtabError } from "../base/errors.ts";
import { dataRanges, layMatrix, layVector, type Matrix } from "../base/matrix.ts";
import { release } from "../base/release.ts";
import type { Checkpoint, MatrixSource } from "../format/checkpoint.ts";
import { weightKey } from "../layers/blueprint.ts";
import type { WeightSpec } from "../layers/builder.ts";
import type { Speaker, Weight } from "../ops/ops.ts";
import { readWhole, type Store } from "../store/store.ts";
import type { OnArrival } from "./arrival.ts";
import { loadedPerPublished, matrixParts, type Reading, readParts } from "./parts.ts";

/** The longest record of a dense matrix in the store, and its longest piece in memory. */
export const PIECE_BYTES = 64 * 1024 * 1024;
/** Matrices are read together up to this much, so that neighbours share requests. */
const WINDOW_BYTES = 32 * 1024 * 1024;

/** A dense matrix before it is loaded. */
export interface DenseModule {
  /** See `weightKey`. */
  readonly key: string;
  readonly role: WeightSpec["role"];
  readonly source: MatrixSource;
  readonly matrix: Matrix;
}

/**
 * Where a matrix is published, and how it will lie on the device: as published, quantised, or
 * (norms) widened to f32.
 */
export function denseModule(spec: WeightSpec, checkpoint: Checkpoint, onArrival: OnArrival): DenseModule {
  const key = weightKey(spec);
  const { role } = spec;
  const [rows, columns] = spec.shape;
  if (role === "norm") return { key, role, source: checkpoint.findVector(key, columns), matrix: layVector(columns) };
  const source = checkpoint.find(spec.names, rows, columns);
  return { key, role, source, matrix: layMatrix(rows, columns, onArrival(source, spec)) };
}

interface DenseLoading {
  readonly speaker: Speaker;
  readonly store: Store | null;
  readonly prefix: string;
  readonly reading: Reading;
  /** Told of bytes of the loaded form, also while they arrive. */
  readonly onLoaded: (bytes: number, from: "store" | "network") => void;
  /** A record of so many bytes could not be kept: the work goes on without it. */
  readonly onUnkept: (bytes: number, error: MixtabError) => void;
}

/**
 * Loads dense matrices onto the device, in their order, from the store where they are there, else
 * from the source (and into the store).
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
  const parts = window.flatMap(({ key, source, matrix, weight }) => {
    const gather = new Gather(matrix, (index, begin, bytes) => {
      loading.speaker.write(weight, begin, bytes);
      const put = keep(`${loading.prefix}dense/${key}/${index}`, bytes, loading);
      kept.push(put.then(() => release(bytes)));
    });
    return matrixParts(source, matrix, (offset, bytes) => gather.write(offset, bytes));
  });
  const ratio = loadedPerPublished(
    window.map(({ matrix }) => matrix.end),
    parts,
  );
  await readParts(parts, { ...loading.reading, onBytes: (bytes) => loading.onLoaded(bytes * ratio, "network") });
  await Promise.all(kept);
}

/** Puts a record into the store; where the quota is used up the work goes on without. */
async function keep(key: string, bytes: Uint8Array<ArrayBuffer>, { store, onUnkept }: DenseLoading): Promise<void> {
  try {
    await store?.put(key, bytes);
  } catch (error) {
    if (!(error instanceof MixtabError)) throw error;
    onUnkept(bytes.length, error);
  }
}

/**
 * How a matrix is cut: whole where it is short, else range by range, so that what is written in
 * several places fills few pieces at a time.
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

/** Bytes of data, padding not counted, within a piece. */
const dataBytes = (matrix: Matrix, piece: { begin: number; end: number }): number =>
  dataRanges(matrix)
    .map(({ begin, end }) => Math.max(0, Math.min(end, piece.end) - Math.max(begin, piece.begin)))
    .reduce((sum, bytes) => sum + bytes);

/**
 * Gathers bytes written at any offset into pieces, and hands each on when the ranges of the matrix
 * have filled it.
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
