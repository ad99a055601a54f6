import { assert } from "../base/assert.ts";
import type { Matrix } from "../base/matrix.ts";
import { DTYPES } from "./decode.ts";

const PLACE = ["weight", "stride", "first"] as const;
type PlaceNumber = (typeof PLACE)[number];

/** The dtype of a bias that does not exist. */
const NONE = 0xffffffff;

/** The override of a shader that adds a bias of this name, by `bias.wgsl`. */
export const biasConstants = <const N extends string>(name: N) =>
  ({ [`${name}_dtype`]: "u32" }) as Record<`${N}_dtype`, "u32">;

/** Its numbers. */
export const biasNumbers = <const N extends string>(name: N) =>
  Object.fromEntries(PLACE.map((field) => [`${name}_${field}`, "u32"])) as Record<`${N}_${PlaceNumber}`, "u32">;

/** The values of all of these. `bias`: a plain column; null: there is none. */
export function biasValues<const N extends string>(name: N, bias: Matrix | null) {
  const values = bias === null ? [NONE, 0, 0, 0] : valuesOf(bias);
  return Object.fromEntries(["dtype", ...PLACE].map((field, i) => [`${name}_${field}`, values[i]])) as Record<
    `${N}_dtype` | `${N}_${PlaceNumber}`,
    number
  >;
}

function valuesOf({ encoding, columns, weight, stride, first }: Matrix): number[] {
  assert(encoding.kind === "plain" && columns === 1, "a bias is a plain column");
  return [DTYPES[encoding.dtype], weight / 4, stride, first];
}
