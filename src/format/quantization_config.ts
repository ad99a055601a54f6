import { MixtabError } from "../base/errors.ts";
import { AFFINE_BITS, GROUPS, MXFP4 } from "../base/matrix.ts";
import { textName } from "../base/published_name.ts";
import { quote } from "../base/quote.ts";

/** What config.json claims about a quantised module. A field that it does not give is undefined. */
export interface Claim {
  readonly bits: number | undefined;
  readonly group: number | undefined;
  readonly mode: string;
}

/**
 * What config.json claims about a module. false: the module is not quantised. undefined:
 * config.json says nothing about it.
 */
export type Claims = (module: string) => Claim | false | undefined;

/**
 * Reads `quantization` (the key of MLX, which newer files repeat as `quantization_config`). It
 * gives group_size, bits and mode for all modules. An entry whose key is a module's path overrides
 * them for that module: with an object, or with false if the module is not quantised. Also reads
 * gpt-oss's `quantization_config`, whose quant_method is mxfp4. Errors: unsupported-quantization
 * for the methods of other libraries (GPTQ, AWQ, fp8, bitsandbytes, ...).
 */
export function readClaims(config: unknown): Claims {
  const { quantization, quantization_config: copy } = isObject(config) ? config : {};
  const settings = quantization ?? copy;
  if (settings === undefined || settings === null) return () => undefined;
  if (!isObject(settings)) throw unsupported("the quantization of config.json is not an object");
  if (settings.quant_method === "mxfp4") return mxfp4Claims(settings);
  if (settings.quant_method !== undefined && settings.quant_method !== null)
    throw unsupported(`config.json names quant_method ${quote(settings.quant_method)}`);
  const general = readClaim(settings);
  const overrides = new Map(Object.entries(settings).map(([path, override]) => [textName(path), override]));
  return (module) => {
    const override = overrides.get(textName(module));
    if (override === false) return false;
    return isObject(override) ? readClaim(override) : general;
  };
}

/**
 * What transformers writes for MXFP4: all is quantised but for the modules that
 * `modules_to_not_convert` names, and what they contain.
 */
function mxfp4Claims({ modules_to_not_convert: excepted }: Record<string, unknown>): Claims {
  const names = (Array.isArray(excepted) ? excepted : []).filter((name) => typeof name === "string");
  const claim: Claim = { bits: 4, group: MXFP4.group, mode: "mxfp4" };
  return (module) => {
    const parts = module.split(".");
    const enclosing = parts.map((_, i) => parts.slice(0, i + 1).join("."));
    return names.some((name) => enclosing.some((each) => matches(name, each))) ? false : claim;
  };
}

/**
 * Whether `name` is `text`, where a `*` in it is any text. It is no regular expression, since one of
 * many stars can take as good as forever, and config.json may come from anywhere.
 */
function matches(name: string, text: string): boolean {
  const [head, ...rest] = name.split("*") as [string, ...string[]];
  const tail = rest.pop();
  if (tail === undefined) return text === name;
  const end = text.length - tail.length;
  if (!text.startsWith(head) || !text.endsWith(tail)) return false;
  let at = head.length;
  for (const piece of rest) {
    const found = text.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= end;
}

/** An override without `mode` is affine, whatever mode is given for all modules, as in MLX. */
function readClaim({ bits, group_size: group, mode }: Record<string, unknown>): Claim {
  return {
    bits: typeof bits === "number" ? bits : undefined,
    group: typeof group === "number" ? group : undefined,
    mode: typeof mode === "string" ? mode : mode == null ? "affine" : quote(mode),
  };
}

/** The error about weights that mixtab cannot decode. Its message says which ones it can decode. */
export function unsupported(what: string): MixtabError {
  return new MixtabError(
    "unsupported-quantization",
    `Unsupported quantisation: ${what}. mixtab reads MLX's affine ${anyOf(AFFINE_BITS)} bits in groups of ${anyOf(GROUPS)} ` +
      "with f16, bf16 or f32 scales, MXFP4, and plain f32, f16 and bf16 weights. Choose such a copy of the model, " +
      "mlx-community/*-4bit for example.",
  );
}

/** "2, 3 or 4". */
const anyOf = (numbers: readonly number[]): string => `${numbers.slice(0, -1).join(", ")} or ${numbers.at(-1)}`;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
