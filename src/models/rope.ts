/**
 * How config.json says that positions are rotated: in `rope_parameters` (transformers 5), or in
 * `rope_theta` and `rope_scaling` (before). The formulas are those of transformers'
 * `modeling_rope_utils.py`.
 */
import { quote } from "../base/quote.ts";
import { inverseFrequencies } from "../layers/rope_table.ts";
import { bad, Config } from "./config.ts";

export interface Rope {
  /** θ_i, i < R / 2, where R channels of a head turn. */
  readonly frequencies: Float32Array;
  /** cos and sin are multiplied by it. */
  readonly scale: number;
  /** The longest context for which these frequencies hold. */
  readonly positions: number;
}

export interface RopeKeys {
  /** The keys of one rope: `rope_type`, and what that type needs. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Where the parameters have no `rope_theta`. */
  readonly base: number;
  /** C. */
  readonly headWidth: number;
  /** max_position_embeddings. */
  readonly positions: number;
}

/** What a formula needs beside the keys of its type: `original` is the context of the first training. */
interface Scaled {
  readonly base: number;
  readonly rotated: number;
  readonly positions: number;
  readonly original: number;
}

/**
 * The parameters of a model that has one rope: a key of `rope_scaling` goes before the same one of
 * `rope_parameters`. Errors: bad-config, also if there is a rope for each type of layer.
 */
export function ropeParameters(config: Config): Readonly<Record<string, unknown>> {
  const { json: newer } = config.section("rope_parameters");
  const byType = Object.keys(newer).find((key) => key.endsWith("_attention"));
  if (byType !== undefined)
    throw bad(`"rope_parameters" has ${quote(byType)}; mixtab knows one rope for all layers of this model_type`);
  return { ...newer, ...config.section("rope_scaling").json };
}

/** One rope. Errors: bad-config. */
export function readRope(config: Config, { parameters, base: usual, headWidth, positions }: RopeKeys): Rope {
  const rope = new Config(parameters);
  const base = rope.positive("rope_theta", usual);
  const share = rope.positive("partial_rotary_factor", config.positive("partial_rotary_factor", 1));
  const rotated = Math.trunc(headWidth * share);
  if (rotated < 2 || rotated % 2 !== 0 || rotated > headWidth)
    throw bad(`"partial_rotary_factor" is ${share}, and ${rotated} of ${headWidth} channels cannot turn in pairs`);
  const said = rope.count("original_max_position_embeddings", "positions", positions);
  const original = config.count("original_max_position_embeddings", "positions", said);
  return { positions, ...scaledRope(rope, { base, rotated, positions, original }) };
}

type ScaledRope = Pick<Rope, "frequencies" | "scale"> & Partial<Pick<Rope, "positions">>;

function scaledRope(rope: Config, scaled: Scaled): ScaledRope {
  const type = rope.json.rope_type ?? rope.json.type ?? "default";
  switch (type) {
    case "default":
    // Has a position for each of time, height and width; for text they are the same.
    case "mrope":
    // Stretches only contexts longer than max_position_embeddings, and mixtab takes none.
    case "dynamic":
      return { frequencies: inverseFrequencies(scaled.base, scaled.rotated), scale: 1 };
    case "linear":
      return linear(rope, scaled);
    case "llama3":
      return llama3(rope, scaled);
    case "yarn":
      return yarn(rope, scaled);
    case "longrope":
      return longrope(rope, scaled);
    default:
      throw bad(`rope_type is ${quote(type)}; mixtab knows default, dynamic, linear, llama3, yarn and longrope`);
  }
}

/** Presses all positions together. (Chen et al. 2023) */
function linear(rope: Config, { base, rotated }: Scaled): ScaledRope {
  const factor = rope.positive("factor");
  return { frequencies: inverseFrequencies(base, rotated).map((f) => f / factor), scale: 1 };
}

/** Presses the slow channels, keeps the fast ones, and goes from one to the other. (Llama 3.1) */
function llama3(rope: Config, { base, rotated, original }: Scaled): ScaledRope {
  const factor = rope.positive("factor");
  const low = rope.positive("low_freq_factor");
  const high = rope.positive("high_freq_factor");
  if (high <= low) throw bad(`"high_freq_factor" should be above "low_freq_factor", and they are ${high} and ${low}`);
  const frequencies = inverseFrequencies(base, rotated).map((f) => {
    const turns = (original * f) / (2 * Math.PI);
    const kept = unit((turns - low) / (high - low));
    return f * (kept + (1 - kept) / factor);
  });
  return { frequencies, scale: 1 };
}

/** YaRN: the way from fast to slow is a ramp over channels, and cos and sin grow. (Peng et al. 2023) */
function yarn(rope: Config, { base, rotated, positions, original }: Scaled): ScaledRope {
  const factor = rope.positive("factor", positions / original);
  /** The channel that turns so many times within the original context. */
  const channel = (turns: number) => (rotated * Math.log(original / (2 * Math.PI * turns))) / (2 * Math.log(base));
  const [fast, slow] = [channel(rope.positive("beta_fast", 32)), channel(rope.positive("beta_slow", 1))];
  const isWhole = rope.flag("truncate", true);
  const low = Math.max(isWhole ? Math.floor(fast) : fast, 0);
  const end = Math.min(isWhole ? Math.ceil(slow) : slow, rotated - 1);
  const high = end === low ? end + 0.001 : end;
  const frequencies = inverseFrequencies(base, rotated).map((f, i) => {
    const pressed = unit((i - low) / (high - low));
    return f * (1 - pressed + pressed / factor);
  });
  return { frequencies, scale: rope.positive("attention_factor", growth(rope, factor)) };
}

/** What YaRN multiplies cos and sin by, where `attention_factor` does not say. */
function growth(rope: Config, factor: number): number {
  const of = (mscale: number) => (factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1);
  const { mscale, mscale_all_dim: all } = rope.json;
  return mscale && all ? of(rope.positive("mscale")) / of(rope.positive("mscale_all_dim")) : of(1);
}

/**
 * LongRoPE (Ding et al. 2024): a factor for each channel. A context beyond the original one takes
 * other factors from its first token on, and implementations differ in which, so there is none.
 */
function longrope(rope: Config, { base, rotated, positions, original }: Scaled): ScaledRope {
  const factors = rope.positives("short_factor", rotated / 2);
  const factor = rope.positive("factor", positions / original);
  const growth = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
  return {
    frequencies: inverseFrequencies(base, rotated).map((f, i) => f / factors[i]!),
    scale: rope.positive("short_mscale", rope.positive("attention_factor", growth)),
    positions: Math.min(original, positions),
  };
}

const unit = (x: number) => Math.min(Math.max(x, 0), 1);
