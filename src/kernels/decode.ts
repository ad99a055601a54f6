import type { Codebook, Encoding, Matrix } from "../base/matrix.ts";

/** What decides how a shader decodes, and where it finds what it decodes. */
const CONSTANTS = ["bits", "table", "group", "dtype"] as const;
const NUMBERS = ["weight", "scales", "biases", "stride", "first"] as const;
type Constant = (typeof CONSTANTS)[number];
type PlaceNumber = (typeof NUMBERS)[number];

/** The numbers by which `decode.wgsl` knows each dtype and each table; 0: no table. */
export const DTYPES = { f32: 0, f16: 1, bf16: 2, e8m0: 3 } as const satisfies Record<Codebook["scales"], number>;
const TABLES = { fp4: 1 } as const satisfies Record<Codebook["table"], number>;

/**
 * The overrides of a shader that decodes a matrix of this name: for "w1" they are w1_bits, w1_group
 * and so on.
 */
export const matrixConstants = <const N extends string>(name: N) =>
  named(name, CONSTANTS, (): "u32" => "u32") as Record<`${N}_${Constant}`, "u32">;

/** Its numbers, but for `columns`, which is shared by all matrices that the shader decodes. */
export const matrixNumbers = <const N extends string>(name: N) =>
  named(name, NUMBERS, (): "u32" => "u32") as Record<`${N}_${PlaceNumber}`, "u32">;

/** The values of all of these for a matrix. */
export function matrixValues<const N extends string>(name: N, matrix: Matrix) {
  const { encoding, weight, scales, biases, columns, stride, first } = matrix;
  const coded = encodingValues(encoding);
  const placed = [weight / 4, scales / 4, biases / 4, stride, first];
  return {
    columns,
    ...(named(name, CONSTANTS, (index) => coded[index]!) as Record<`${N}_${Constant}`, number>),
    ...(named(name, NUMBERS, (index) => placed[index]!) as Record<`${N}_${PlaceNumber}`, number>),
  };
}

const named = <T>(name: string, fields: readonly string[], value: (index: number) => T) =>
  Object.fromEntries(fields.map((field, index) => [`${name}_${field}`, value(index)]));

function encodingValues(encoding: Encoding): [bits: number, table: number, group: number, dtype: number] {
  switch (encoding.kind) {
    case "plain":
      return [0, 0, 1, DTYPES[encoding.dtype]];
    case "affine":
      return [encoding.bits, 0, encoding.group, DTYPES[encoding.scales]];
    case "codebook":
      return [4, TABLES[encoding.table], encoding.group, DTYPES[encoding.scales]];
    default:
      return encoding satisfies never;
  }
}
