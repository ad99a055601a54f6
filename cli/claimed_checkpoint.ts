import { MixtabError } from "../src/base/errors.ts";
import { affineOf, type Encoding, type Float, MXFP4, rangeBytes } from "../src/base/matrix.ts";
import type { Checkpoint, MatrixSource } from "../src/format/checkpoint.ts";
import { readClaims, unsupported } from "../src/format/quantization_config.ts";

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
      const { bits = 0, group = 0, mode } = claim;
      const encoding = mode === "mxfp4" ? MXFP4 : mode === "affine" ? affineOf(bits, group, "bf16") : undefined;
      if (encoding) return sourceOf(rows, columns, encoding);
      throw unsupported(`config.json claims ${bits} bits in groups of ${group}, mode "${mode}", for ${first?.module}`);
    },
    findPlain: (_, rows, columns) => sourceOf(rows, columns, plain),
    findColumn: (_, rows) => sourceOf(rows, 1, plain),
    unclaimed: () => [],
  };
}
