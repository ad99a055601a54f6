/** What weights that are published as floats become when they are quantised on arrival. */
import type { Affine, Float } from "../base/matrix.ts";
import type { Role } from "../base/role.ts";

/**
 * "auto" keeps what the model knows: routed experts at 4 bits, all else that is multiplied at 8.
 * "mlx" is what mlx_lm.convert does, to the byte: all at 4 bits. "none" keeps what was published.
 * A name stands for one rule for ever: it is part of the keys of stored records.
 */
export type Recipe = "auto-1" | "mlx-1" | "none";

/** A matrix that arrives as plain floats. */
export interface Arriving {
  readonly role: Role;
  readonly columns: number;
  readonly dtype: Float;
  /** What mlx_lm chooses for this matrix, where it is not 4. */
  readonly mlxBits?: 8 | undefined;
  /** See {@link isFrugal}. */
  readonly frugal: boolean;
}

/** Above this, all linears of a dense model together at 8 bits, its feed-forward layers are stored at 4. */
const MOST_DENSE_BYTES = 2e9;

/** What a matrix becomes; undefined: it stays as published. */
export function encodingOnArrival(
  recipe: Recipe,
  { role, columns, dtype, mlxBits, frugal }: Arriving,
): Affine | undefined {
  switch (recipe) {
    case "none":
      return undefined;
    case "mlx-1":
      // mlx_lm takes groups of 64 or leaves a matrix alone; numbers stay of the type they are.
      if (role === "norm" || columns % 64 !== 0) return undefined;
      return { kind: "affine", bits: mlxBits ?? 4, group: 64, scales: dtype };
    case "auto-1": {
      const bits = autoBits(role, frugal);
      const group = ([64, 32] as const).find((size) => columns % size === 0);
      return bits && group && { kind: "affine", bits, group, scales: dtype === "bf16" ? "bf16" : "f16" };
    }
    default:
      return recipe satisfies never;
  }
}

/** Most of what 4 bits lose is not lost in the routed experts: bench/RESULTS.md has what each costs. */
function autoBits(role: Role, frugal: boolean): 4 | 8 | undefined {
  switch (role) {
    case "expert":
      return 4;
    case "feedForward":
      return frugal ? 4 : 8;
    case "linear":
    case "embedding":
    case "head":
      return 8;
    case "router":
    case "norm":
      return undefined;
    default:
      return role satisfies never;
  }
}

/** A matrix [rows, columns] of a model. */
export interface Sized {
  readonly role: Role;
  readonly shape: readonly [rows: number, columns: number];
}

/**
 * Whether the feed-forward layers of a dense model go to 4 bits too: at 8 its linears would have
 * over 2 GB. The rule knows no device, so that answers do not depend on one.
 */
export function isFrugal(matrices: readonly Sized[]): boolean {
  const linears = matrices.filter(({ role }) => role === "linear" || role === "feedForward" || role === "head");
  const bytes = linears.reduce((sum, { shape: [rows, columns] }) => sum + (rows * columns * BITS_OF_8) / 8, 0);
  return bytes > MOST_DENSE_BYTES;
}

/** 8 bits and a scale and a bias of 16 for each 64. */
const BITS_OF_8 = 8 + 32 / 64;
