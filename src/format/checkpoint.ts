import { assert } from "../base/assert.ts";
import { MixtabError } from "../base/errors.ts";
import { type Affine, affineOf, type Encoding, FLOAT_BYTES, type Float, MXFP4 } from "../base/matrix.ts";
import { type PublishedName, textName } from "../base/published_name.ts";
import { excerpt } from "../base/quote.ts";
import { type Claim, readClaims, unsupported } from "./quantization_config.ts";
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
  /** Only quantised matrices have scales, and only affine ones biases. */
  readonly scales?: FileRange;
  readonly biases?: FileRange;
  /** As in {@link PublishedName}; the ranges then hold the rows of both matrices. */
  readonly everySecond?: 0 | 1;
  readonly transposed?: boolean;
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
  /**
   * The first of `candidates` whose tensor is there: plain numbers [rows], as a matrix of one
   * column. They may be in a stack. Errors as in `find`.
   */
  findColumn(candidates: readonly PublishedName[], rows: number): MatrixSource;
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
  const first = (candidates: readonly PublishedName[]) => {
    for (const name of candidates) {
      const tensor = claim(tensorOf(name));
      if (tensor) return { name, tensor };
    }
    throw missing(candidates.map(tensorOf), tensors.keys());
  };

  return {
    has: (module) => [`${module}.weight`, module, `${module}_blocks`].some((name) => tensors.has(name)),

    find(candidates, rows, columns) {
      const { name, tensor } = first(candidates);
      const { module, bare, blocks } = name;
      const scales = bare ? undefined : claim(blocks ? `${module}_scales` : `${module}.scales`);
      if (blocks && !scales) throw missing([`${module}_scales`], tensors.keys());
      if (!scales) return plain(tensor, name, [rows, columns]);
      assert(!name.transposed, "only floats are transposed");
      const biases = claim(`${module}.biases`);
      const said = claims(module);
      if (said === false) throw unsupported(`config.json says that ${module} is not quantised, and it has scales`);
      const quantised = { weight: tensor, scales, name, rows, columns, claim: said };
      return !biases && scales.dtype === "U8" ? mxfp4(quantised) : affine(quantised, biases);
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

    findColumn(candidates, rows) {
      const { name, tensor } = first(candidates);
      return plain(tensor, name, [rows]);
    },

    unclaimed: () =>
      [...tensors.values()]
        .filter((tensor) => !claimed.has(tensor))
        .map(({ name, begin, end }) => ({ name, bytes: end - begin })),
  };
}

/** The tensor of a name that holds weights. */
function tensorOf({ module, bare, blocks }: PublishedName): string {
  if (blocks) return `${module}_blocks`;
  return bare ? module : `${module}.weight`;
}

/** The tensors of a quantised matrix [rows, columns], and what config.json claims about it. */
interface Quantised {
  readonly weight: PublishedTensor;
  readonly scales: PublishedTensor;
  readonly name: PublishedName;
  readonly rows: number;
  readonly columns: number;
  readonly claim: Claim | undefined;
}

function plain(tensor: PublishedTensor, name: PublishedName, shape: readonly [number, number?]): MatrixSource {
  const [rows, columns = 1] = shape;
  const dtype = floatOf(tensor);
  const wanted = [heightOf(name, rows), ...shape.slice(1)] as number[];
  checkShape(tensor, name, name.transposed ? wanted.reverse() : wanted);
  const weight = rowsOf(tensor, name, rows, columns * FLOAT_BYTES[dtype]);
  return { rows, columns, encoding: { kind: "plain", dtype }, weight, ...orderOf(name) };
}

function affine(matrix: Quantised, biases: PublishedTensor | undefined): MatrixSource {
  const { weight, scales, name, rows, columns } = matrix;
  if (!biases) throw unsupported(`${name.module} has scales and no biases`);
  const encoding = affineEncoding(matrix, biases);
  const groups = columns / encoding.group;
  const height = heightOf(name, rows);
  checkShape(weight, name, [height, (columns * encoding.bits) / 32]);
  checkShape(scales, name, [height, groups]);
  checkShape(biases, name, [height, groups]);
  const groupBytes = groups * FLOAT_BYTES[encoding.scales];
  return {
    ...{ rows, columns, encoding, ...orderOf(name) },
    weight: rowsOf(weight, name, rows, (columns * encoding.bits) / 8),
    scales: rowsOf(scales, name, rows, groupBytes),
    biases: rowsOf(biases, name, rows, groupBytes),
  };
}

/** Bytes of the fp4 numbers of a group of MXFP4. */
const BLOCK_BYTES = 16;

function mxfp4({ weight, scales, name, rows, columns, claim }: Quantised): MatrixSource {
  const { module, blocks } = name;
  if (claim && claim.mode !== "mxfp4") throw unsupported(`${module} is quantised in mode "${excerpt(claim.mode)}"`);
  const groups = columns / MXFP4.group;
  if (!Number.isInteger(groups) || scales.dtype !== "U8" || weight.dtype !== (blocks ? "U8" : "U32"))
    throw unsupported(`${module} has ${columns} columns of ${weight.dtype} with ${scales.dtype} scales and no biases`);
  const height = heightOf(name, rows);
  checkShape(weight, name, blocks ? [height, groups, BLOCK_BYTES] : [height, (groups * BLOCK_BYTES) / 4]);
  checkShape(scales, name, [height, groups]);
  return {
    ...{ rows, columns, encoding: MXFP4, ...orderOf(name) },
    weight: rowsOf(weight, name, rows, groups * BLOCK_BYTES),
    scales: rowsOf(scales, name, rows, groups),
  };
}

/**
 * Finds bits and group from the shapes of `weight` and `scales`, for rows of `columns` weights.
 * Errors: unsupported-quantization, also if config.json says otherwise.
 */
function affineEncoding({ weight, scales, name, columns, claim }: Quantised, biases: PublishedTensor): Affine {
  const { module } = name;
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
  const encoding = dtype && affineOf(bits, group, dtype);
  if (weight.dtype !== "U32" || biases.dtype !== scales.dtype || !encoding) throw unsupported(here);
  if (claim && ((claim.bits ?? bits) !== bits || (claim.group ?? group) !== group))
    throw unsupported(
      `${here} by its shapes, and config.json says ${claim.bits ?? bits} bits in groups of ${claim.group ?? group}`,
    );
  return encoding;
}

/** The rows of a tensor that holds the matrix, and perhaps another beside it. */
const heightOf = ({ firstRow, everySecond, ofRows }: PublishedName, rows: number): number =>
  firstRow === undefined && everySecond === undefined ? rows : (ofRows ?? 2 * rows);

/** How the rows of a matrix lie in its ranges, where not one after the other. */
const orderOf = ({ everySecond, transposed }: PublishedName): Pick<MatrixSource, "everySecond" | "transposed"> => ({
  ...(everySecond === undefined ? {} : { everySecond }),
  ...(transposed ? { transposed } : {}),
});

/**
 * Throws unless the tensor has the shape `wanted`. If the name has `stack`, a leading dimension
 * larger than `stack` must stand before that.
 */
function checkShape(tensor: PublishedTensor, { stack }: PublishedName, wanted: readonly number[]): void {
  const { shape } = tensor;
  const front = shape.slice(0, -wanted.length);
  const fits = wanted.every((size, i) => shape.at(i - wanted.length) === size);
  if (!fits || front.length !== (stack === undefined ? 0 : 1) || (stack !== undefined && stack >= front[0]!))
    throw wrongShape(tensor, [...(stack === undefined ? [] : [`more than ${stack}`]), ...wanted]);
}

function rowsOf(tensor: PublishedTensor, name: PublishedName, rows: number, rowBytes: number): FileRange {
  const { stack = 0, firstRow = 0, everySecond } = name;
  const height = heightOf(name, rows);
  const begin = tensor.begin + (stack * height + firstRow) * rowBytes;
  return { file: tensor.file, begin, end: begin + (everySecond === undefined ? rows : height) * rowBytes };
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
