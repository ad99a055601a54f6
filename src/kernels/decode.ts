import type { Codebook, Encoding, Matrix } from "../base/matrix.ts";

const FIELDS = ["bits", "table", "group", "dtype", "weight", "scales", "biases", "stride", "first"] as const;
type Field = (typeof FIELDS)[number];

/** The numbers by which `decode.wgsl` knows each dtype and each table; 0: no table. */
export const DTYPES = { f32: 0, f16: 1, bf16: 2, e8m0: 3 } as const satisfies Record<Codebook["scales"], number>;
const TABLES = { fp4: 1 } as const satisfies Record<Codebook["table"], number>;

/**
 * The overrides of a shader that decodes a matrix of this name: for "w1" they are w1_bits, w1_group
 * and so on. `columns` is shared by all matrices that the shader decodes.
 */
export function matrixConstants<const N extends string>(name: N) {
  const fields = Object.fromEntries(FIELDS.map((field) => [`${name}_${field}`, "u32"]));
  return { columns: "u32", ...fields } as Record<`${N}_${Field}` | "columns", "u32">;
}

/** The values of these overrides for a matrix. */
export function matrixValues<const N extends string>(name: N, matrix: Matrix) {
  const { encoding, weight, scales, biases, columns, stride, first } = matrix;
  const values = [...encodingValues(encoding), weight / 4, scales / 4, biases / 4, stride, first];
  const fields = Object.fromEntries(FIELDS.map((field, index) => [`${name}_${field}`, values[index]]));
  return { columns, ...fields } as Record<`${N}_${Field}` | "columns", number>;
}

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
