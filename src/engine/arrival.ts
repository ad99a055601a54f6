import { MixtabError } from "../base/errors.ts";
import type { Encoding } from "../base/matrix.ts";
import { quote } from "../base/quote.ts";
import type { MatrixSource } from "../format/checkpoint.ts";
import { type Arriving, encodingOnArrival, isFrugal, type Recipe } from "../format/recipe.ts";
import type { Blueprint } from "../layers/blueprint.ts";
import type { Quantize } from "./api.ts";

/**
 * The encoding in which a matrix is stored and computed with: the published one, or what the recipe
 * says.
 */
export type OnArrival = (source: MatrixSource, matrix: Pick<Arriving, "role" | "mlxBits">) => Encoding;

/**
 * Decides the encoding of each matrix of a model. A matrix that is published quantised stays as it
 * is.
 */
export function arrival(
  recipe: Recipe,
  { weights, experts }: Blueprint,
  frugal = experts.length === 0 && isFrugal(weights),
): OnArrival {
  return ({ encoding, columns }, { role, mlxBits }) =>
    encoding.kind === "plain"
      ? (encodingOnArrival(recipe, { role, mlxBits, columns, dtype: encoding.dtype, frugal }) ?? encoding)
      : encoding;
}

/** The recipe that the option `quantize` names. Errors: bad-request. */
export function recipeOf(quantize: Quantize | null | undefined): Recipe {
  switch (quantize) {
    case undefined:
    case null:
    case true:
    case "auto":
      return "auto-1";
    case "mlx":
      return "mlx-1";
    case false:
      return "none";
    default:
      quantize satisfies never;
      throw new MixtabError("bad-request", `quantize is "auto", "mlx" or false, and not ${quote(quantize)}.`);
  }
}
