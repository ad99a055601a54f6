/** Decides how weights that are published as floats are quantised when they are downloaded. */
import type { Affine, Float } from "../base/matrix.ts";
import type { Role } from "../base/role.ts";

/**
 * "auto-1" loses little of the model's quality: it stores routed experts at 4 bits, and all other
 * matrices that are multiplied at 8. "mlx-1" does what mlx_lm.convert does, to the byte: it stores
 * all matrices at 4 bits. "none" stores what was published. The rule behind a name never changes,
 * because the name is part of the keys of stored records.
 */
export type Recipe = "auto-1" | "mlx-1" | "none";

/** A matrix that is downloaded as plain floats. */
export interface Arriving {
  readonly role: Role;
  readonly columns: number;
  readonly dtype: Float;
  /** The bits that mlx_lm chooses for this matrix, if they are not 4. */
  readonly mlxBits?: 8 | undefined;
  /** See {@link isFrugal}. */
  readonly frugal: boolean;
}

/**
 * If the linears of a dense model together would take more than this at 8 bits, its feed-forward
 * layers are stored at 4.
 */
const MOST_DENSE_BYTES = 2e9;

/** The encoding in which a matrix is stored. undefined: it is stored as it was published. */
export function encodingOnArrival(
  recipe: Recipe,
  { role, columns, dtype, mlxBits, frugal }: Arriving,
): Affine | undefined {
  switch (recipe) {
    case "none":
      return undefined;
    case "mlx-1":
      // mlx_lm quantises in groups of 64, or leaves a matrix alone. Scales keep the type of the
      // published floats.
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

/**
 * The bits for each role. Where all matrices are stored at 4 bits, most of the loss in quality is
 * not due to the routed experts, so that the others get 8. bench/RESULTS.md has what each role
 * costs.
 */
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
 * Whether the feed-forward layers of a dense model are stored at 4 bits too: that is so if its
 * linears would have more than 2 GB at 8. The rule does not look at the device, so that the model's
 * answers do not depend on it.
 */
export function isFrugal(matrices: readonly Sized[]): boolean {
  const linears = matrices.filter(({ role }) => role === "linear" || role === "feedForward" || role === "head");
  const bytes = linears.reduce((sum, { shape: [rows, columns] }) => sum + (rows * columns * BITS_OF_8) / 8, 0);
  return bytes > MOST_DENSE_BYTES;
}

/**
 * Bits per weight at 8 bits: 8 of its own, and a share of the 16-bit scale and the 16-bit bias of
 * its group of 64.
 */
const BITS_OF_8 = 8 + 32 / 64;
