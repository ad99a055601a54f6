import { MixtabError } from "../base/errors.ts";
import { type Affine, type Encoding, FLOAT_BYTES, type Float } from "../base/matrix.ts";
import { type PublishedName, textName } from "../base/published_name.ts";
import { excerpt } from "../base/quote.ts";
import { type Claims, readClaims, unsupported } from "./quantization_config.ts";
import type { TensorEntry } from "./safetensors.ts";

/** Bytes [begin, end) of a file, counted from its beginning. */
export interface FileRange {
  readonly file: string;
  readonly begin: number;
  readonly end: number;
}

/**
 * In which files, and where in them, the ranges of a matrix [rows, columns] are published. The
 * three ranges may be in different files.
 */
export interface MatrixSource {
  readonly rows: number;
  readonly columns: number;
  readonly encoding: Encoding;
  readonly weight: FileRange;
  /** Only affine matrices have `scales` and `biases`. */
  readonly scales?: FileRange;
  readonly biases?: FileRange;
}

/** The tensors of a model's files, found by module name. */
export interface Checkpoint {
  /** Whether there is a tensor named `<module>.weight` or `module`. */
  has(module: string): boolean;
  /**
   * The first of `candidates` whose tensor is there. Errors: missing-tensor, which names all
   * candidates; bad-config, if the tensor's shape is not what the model asks for;
   * unsupported-quantization.
   */
  find(candidates: readonly PublishedName[], rows: number, columns: number): MatrixSource;
  /**
   * A plain tensor named `<name>.weight` or `name`, as a matrix: a vector is one of one row, and
   * dimensions of 1 do not count. Errors as in `find`.
   */
  findPlain(candidates: readonly PublishedName[], rows: number, columns: number): MatrixSource;
  /** The tensors that nothing has been found in so far, by their published names. */
  unclaimed(): readonly Unclaimed[];
}

/** A tensor that no part of the model asked for. */
export interface Unclaimed {
  /** As published. */
  readonly name: string;
  readonly bytes: number;
}

interface PublishedTensor extends TensorEntry {
  readonly name: string;
  readonly file: string;
}

const FLOATS: Readonly<Partial<Record<string, Float>>> = { F32: "f32", F16: "f16", BF16: "bf16" };

/**
 * Opens a model's tensors. `config`: its parsed config.json; `shards`: by file, the tensors that
 * the file's header lists. Errors: unsupported-quantization.
 */
export function openCheckpoint(
  config: unknown,
  shards: ReadonlyMap<string, ReadonlyMap<string, TensorEntry>>,
): Checkpoint {
  const claims = readClaims(config);
  const tensors = new Map<string, PublishedTensor>();
  for (const [file, entries] of shards)
    for (const [name, entry] of entries) tensors.set(textName(name), { ...entry, name, file });
  const claimed = new Set<PublishedTensor>();
  const claim = (name: string): PublishedTensor | undefined => {
    const tensor = tensors.get(textName(name));
    if (tensor) claimed.add(tensor);
    return tensor;
  };
  const named = ({ module, bare }: PublishedName) => claim(bare ? module : `${module}.weight`);

  return {
    has: (module) => tensors.has(`${module}.weight`) || tensors.has(module),

    find(candidates, rows, columns) {
      for (const name of candidates) {
        const weight = named(name);
        if (!weight) continue;
        const scales = name.bare ? undefined : claim(`${name.module}.scales`);
        if (!scales) return plain(weight, name, rows, columns);
        return affine(weight, scales, claim(`${name.module}.biases`), name, rows, columns, claims);
      }
      throw missing(
        candidates.map(({ module, bare }) => (bare ? module : `${module}.weight`)),
        tensors.keys(),
      );
    },

    findPlain(candidates, rows, columns) {
      const names = candidates.flatMap(({ module }) => [`${module}.weight`, module]);
      const name = names.find((each) => tensors.has(textName(each)));
      const tensor = name === undefined ? undefined : claim(name);
      if (!tensor) throw missing(names, tensors.keys());
      const said = tensor.shape.filter((length) => length !== 1);
      const wanted = [rows, columns].filter((length) => length !== 1);
      if (said.join() !== wanted.join()) throw wrongShape(tensor, rows === 1 ? [columns] : [rows, columns]);
      const { file, begin, end } = tensor;
      return { rows, columns, encoding: { kind: "plain", dtype: floatOf(tensor) }, weight: { file, begin, end } };
    },

    unclaimed: () =>
      [...tensors.values()]
        .filter((tensor) => !claimed.has(tensor))
        .map(({ name, begin, end }) => ({ name, bytes: end - begin })),
  };
}

function plain(weight: PublishedTensor, name: PublishedName, rows: number, columns: number): MatrixSource {
  const dtype = floatOf(weight);
  checkShape(weight, name, rows, columns);
  const range = rowsOf(weight, name, rows, columns * FLOAT_BYTES[dtype]);
  return { rows, columns, encoding: { kind: "plain", dtype }, weight: range };
}

function affine(
  weight: PublishedTensor,
  scales: PublishedTensor,
  biases: PublishedTensor | undefined,
  name: PublishedName,
  rows: number,
  columns: number,
  claims: Claims,
): MatrixSource {
  if (!biases) throw unsupported(`${name.module} has scales and no biases`);
  const encoding = affineEncoding(weight, scales, biases, name.module, columns, claims);
  const groups = columns / encoding.group;
  checkShape(weight, name, rows, (columns * encoding.bits) / 32);
  checkShape(scales, name, rows, groups);
  checkShape(biases, name, rows, groups);
  const groupBytes = groups * FLOAT_BYTES[encoding.scales];
  return {
    rows,
    columns,
    encoding,
    weight: rowsOf(weight, name, rows, (columns * encoding.bits) / 8),
    scales: rowsOf(scales, name, rows, groupBytes),
    biases: rowsOf(biases, name, rows, groupBytes),
  };
}

/**
 * Finds bits and group from the shapes of `weight` and `scales`, for rows of `columns` weights.
 * Errors: unsupported-quantization, also if config.json says otherwise.
 */
function affineEncoding(
  weight: PublishedTensor,
  scales: PublishedTensor,
  biases: PublishedTensor,
  module: string,
  columns: number,
  claims: Claims,
): Affine {
  const claim = claims(module);
  if (claim === false) throw unsupported(`config.json says that ${module} is not quantised, and it has scales`);
  if (claim && claim.mode !== "affine") throw unsupported(`${module} is quantised in mode "${excerpt(claim.mode)}"`);
  const words = weight.shape.at(-1) ?? 0;
  const groups = scales.shape.at(-1) ?? 0;
  if (claim?.bits && claim.group) {
    const published = (words * 32) / claim.bits;
    // The bits and the group of config.json fit both shapes, but for rows of another length: so the
    // weights are of another model than the one that config.json describes.
    if (published === groups * claim.group && published !== columns)
      throw wrongShape(weight, [...weight.shape.slice(0, -1), (columns * claim.bits) / 32]);
  }
  const bits = (words * 32) / columns;
  const group = columns / groups;
  const dtype = FLOATS[scales.dtype];
  const here = `${module} has ${bits} bits in groups of ${group} with ${scales.dtype} scales and ${biases.dtype} biases`;
  if (weight.dtype !== "U32" || !dtype || biases.dtype !== scales.dtype) throw unsupported(here);
  if ((bits !== 4 && bits !== 8) || (group !== 32 && group !== 64 && group !== 128)) throw unsupported(here);
  if (claim && ((claim.bits ?? bits) !== bits || (claim.group ?? group) !== group))
    throw unsupported(
      `${here} by its shapes, and config.json says ${claim.bits ?? bits} bits in groups of ${claim.group ?? group}`,
    );
  return { kind: "affine", bits, group, scales: dtype };
}

/**
 * Throws unless the tensor has the shape [rows, width], or the height of its name if that has
 * `firstRow`. If the name has `stack`, a leading dimension larger than `stack` must stand before
 * that.
 */
function checkShape(tensor: PublishedTensor, name: PublishedName, rows: number, width: number): void {
  const { stack, firstRow, ofRows = 2 * rows } = name;
  const height = firstRow === undefined ? rows : ofRows;
  const { shape } = tensor;
  const front = shape.slice(0, -2);
  const fits = shape.at(-2) === height && shape.at(-1) === width && front.length === (stack === undefined ? 0 : 1);
  if (!fits || (stack !== undefined && stack >= front[0]!))
    throw wrongShape(tensor, [...(stack === undefined ? [] : [`more than ${stack}`]), height, width]);
}

function rowsOf(
  tensor: PublishedTensor,
  { stack = 0, firstRow = 0 }: PublishedName,
  rows: number,
  rowBytes: number,
): FileRange {
  const begin = tensor.begin + (stack * tensor.shape.at(-2)! + firstRow) * rowBytes;
  return { file: tensor.file, begin, end: begin + rows * rowBytes };
}

function floatOf({ name, dtype }: PublishedTensor): Float {
  const float = FLOATS[dtype];
  if (!float) throw unsupported(`${name} is of type ${dtype}`);
  return float;
}

/** If a tensor is missing, at most so many that are there are named instead. */
const MOST_NAMED = 5;

function missing(names: readonly string[], present: Iterable<string>): MixtabError {
  const near = nearest(names[0] ?? "", [...present]);
  const instead = near.length === 0 ? "" : ` The nearest they have: ${near.map(excerpt).join(", ")}.`;
  return new MixtabError(
    "missing-tensor",
    `The model's files have no tensor ${names.join(", nor ")}.${instead} Check that all of its files are there and belong together.`,
  );
}

/**
 * The tensors in `present` that share the most leading parts with `wanted`. Example: for
 * `model.layers.3.mlp.gate.weight` those of `model.layers.3.mlp.gate`; if there are none, those of
 * `model.layers.3.mlp`, and so on.
 */
function nearest(wanted: string, present: readonly string[]): readonly string[] {
  for (let prefix = wanted; prefix.includes("."); ) {
    prefix = prefix.slice(0, prefix.lastIndexOf("."));
    const near = present.filter((name) => name.startsWith(`${prefix}.`));
    if (near.length > 0) return near.slice(0, MOST_NAMED);
  }
  return [];
}

function wrongShape({ name, file, shape }: PublishedTensor, wanted: readonly (number | string)[]): MixtabError {
  return new MixtabError(
    "bad-config",
    `${name} in ${file} has the shape [${shape.join(", ")}], and the model asks for [${wanted.join(", ")}]. ` +
      "Check that config.json and the weights are of the same model.",
  );
}
