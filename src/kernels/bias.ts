import { assert } from "../base/assert.ts";
import type { Matrix } from "../base/matrix.ts";
import { DTYPES } from "./decode.ts";

const FIELDS = ["dtype", "weight", "stride", "first"] as const;
type Field = (typeof FIELDS)[number];

/** The dtype of a bias that does not exist. */
const NONE = 0xffffffff;

/** The overrides of a shader that adds a bias of this name, by `bias.wgsl`. */
export const biasConstants = <const N extends string>(name: N) =>
  Object.fromEntries(FIELDS.map((field) => [`${name}_${field}`, "u32"])) as Record<`${N}_${Field}`, "u32">;

/** The values of these overrides. `bias`: a plain column; null: there is none. */
export function biasValues<const N extends string>(name: N, bias: Matrix | null) {
  const values = bias === null ? [NONE, 0, 0, 0] : valuesOf(bias);
  return Object.fromEntries(FIELDS.map((field, i) => [`${name}_${field}`, values[i]])) as Record<
    `${N}_${Field}`,
    number
  >;
}

function valuesOf({ encoding, columns, weight, stride, first }: Matrix): number[] {
  assert(encoding.kind === "plain" && columns === 1, "a bias is a plain column");
  return [DTYPES[encoding.dtype], weight / 4, stride, first];
}
