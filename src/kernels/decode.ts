import type { Encoding, Float, Matrix } from "../base/matrix.ts";

const FIELDS = ["bits", "group", "dtype", "weight", "scales", "biases"] as const;
type Field = (typeof FIELDS)[number];

/** The numbers by which `decode.wgsl` knows each dtype. */
const DTYPES = { f32: 0, f16: 1, bf16: 2 } as const satisfies Record<Float, number>;

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
  const { encoding, weight, scales, biases, columns } = matrix;
  const values = [...encodingValues(encoding), weight / 4, scales / 4, biases / 4];
  const fields = Object.fromEntries(FIELDS.map((field, index) => [`${name}_${field}`, values[index]]));
  return { columns, ...fields } as Record<`${N}_${Field}` | "columns", number>;
}

function encodingValues(encoding: Encoding): [bits: number, group: number, dtype: number] {
  switch (encoding.kind) {
    case "plain":
      return [0, 1, DTYPES[encoding.dtype]];
    case "affine":
      return [encoding.bits, encoding.group, DTYPES[encoding.scales]];
    default:
      return encoding satisfies never;
  }
}
