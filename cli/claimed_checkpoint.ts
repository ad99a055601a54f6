import { MixtabError } from "../src/base/errors.ts";
import { type Encoding, type Float, rangeBytes } from "../src/base/matrix.ts";
import type { Checkpoint, MatrixSource } from "../src/format/checkpoint.ts";
import { readClaims } from "../src/format/quantization_config.ts";

/**
 * The types as config.json spells them, in `torch_dtype` or (transformers 5) `dtype`. If it gives
 * neither, the type is bf16.
 */
const DTYPES: Readonly<Record<string, Float>> = { float32: "f32", float16: "f16", bfloat16: "bf16" };

/**
 * The tensors that a config.json alone claims to describe: all that the model asks for, of the type
 * that config.json names. There are no bytes behind them. Errors: unsupported-quantization.
 */
export function claimedCheckpoint(config: unknown): Checkpoint {
  const claims = readClaims(config);
  const { torch_dtype: older, dtype = older ?? "bfloat16" } = Object(config) as Readonly<Record<string, unknown>>;
  const float = DTYPES[String(dtype)];
  if (!float)
    throw new MixtabError(
      "unsupported-quantization",
      `config.json says that weights are of type ${JSON.stringify(dtype)}. mixtab reads ${Object.keys(DTYPES).join(", ")}.`,
    );
  const plain: Encoding = { kind: "plain", dtype: float };
  const sourceOf = (rows: number, columns: number, encoding: Encoding): MatrixSource => {
    const { weight } = rangeBytes(rows, columns, encoding);
    return { rows, columns, encoding, weight: { file: "", begin: 0, end: weight } };
  };
  return {
    has: () => true,
    find([first], rows, columns) {
      const claim = first ? claims(first.module) : false;
      if (!claim) return sourceOf(rows, columns, plain);
      const { bits, group } = claim;
      if (claim.mode === "affine" && (bits === 4 || bits === 8) && (group === 32 || group === 64 || group === 128))
        return sourceOf(rows, columns, { kind: "affine", bits, group, scales: "bf16" });
      throw new MixtabError(
        "unsupported-quantization",
        `config.json claims ${bits} bits in groups of ${group}, mode "${claim.mode}", for ${first?.module}. ` +
          "mixtab reads MLX's affine 4 and 8 bits in groups of 32, 64 or 128.",
      );
    },
    findPlain: (_, rows, columns) => sourceOf(rows, columns, plain),
    unclaimed: () => [],
  };
}
