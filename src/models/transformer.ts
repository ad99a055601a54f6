/**
 * What most architectures share: the config keys of a decoder, and the decoder around its blocks.
 */
import { attention } from "../layers/attention.ts";
import type { Builder, Layer, Speech } from "../layers/builder.ts";
import { type BlockParts, decoder } from "../layers/decoder.ts";
import { chain, head, linear } from "../layers/linear.ts";
import { rmsNorm } from "../layers/norm.ts";
import { inverseFrequencies } from "../layers/rope_table.ts";
import { MAX_HEAD_WIDTH } from "../ops/ops.ts";
import { bad, type Config } from "./config.ts";

/**
 * The values that transformers assumes for keys that a config.json leaves out; they differ from
 * architecture to architecture.
 */
export interface Defaults {
  /** null: one for each query head. */
  readonly keyValueHeads: number | null;
  readonly positions: number;
  readonly eps: number;
  readonly ropeBase: number;
}

/** The sizes of a decoder. */
export type DecoderShape = ReturnType<typeof readShape>;

/** Reads the keys that most configs have. Errors: bad-config. */
export function readShape(config: Config, defaults: Defaults) {
  const width = config.count("hidden_size", "width");
  const heads = config.count("num_attention_heads", "heads");
  // An explicit null means one for each query head.
  const unsaid = config.has("num_key_value_heads") ? heads : (defaults.keyValueHeads ?? heads);
  const keyValueHeads = config.count("num_key_value_heads", "heads", unsaid);
  const headWidth = config.count("head_dim", "width", width / heads);
  if (heads % keyValueHeads !== 0)
    throw bad(`${heads} query heads do not share ${keyValueHeads} key/value heads evenly`);
  if (headWidth % 4 !== 0 || headWidth > MAX_HEAD_WIDTH)
    throw bad(`head_dim is ${headWidth}; mixtab takes multiples of 4 up to ${MAX_HEAD_WIDTH}`);
  config.expect("hidden_act", "silu");
  return {
    width,
    heads,
    keyValueHeads,
    headWidth,
    layers: config.count("num_hidden_layers", "layers"),
    vocabulary: config.count("vocab_size", "vocabulary"),
    positions: config.count("max_position_embeddings", "positions", defaults.positions),
    eps: config.positive("rms_norm_eps", defaults.eps),
    inverseFrequencies: inverseFrequencies(config.ropeBase(defaults.ropeBase), headWidth),
    /** null: the config does not say; the head is then tied if the files have no lm_head. */
    tied: config.flag("tie_word_embeddings", null),
  };
}

/**
 * Makes block l. `prefix` begins its weights' names (`model.layers.3`); `turn` applies rotary
 * positions.
 */
export type MakeBlock = (prefix: string, turn: Layer, l: number) => BlockParts;

/** The whole model around its blocks. */
export function transformer(m: Builder, shape: DecoderShape, block: MakeBlock): Speech {
  const { width: D, vocabulary: V, layers, eps } = shape;
  const table = m.rope(shape.inverseFrequencies);
  const turn: Layer = (ops, x) => ops.rope(x, table, { headWidth: shape.headWidth, pairs: "halves" });
  const embedding = m.weight({ names: [{ module: "model.embed_tokens" }], shape: [V, D], role: "embedding" });
  const tied = shape.tied ?? !m.has("lm_head");
  return decoder({
    embed: (ops) => ops.embed(embedding),
    blocks: Array.from({ length: layers }, (_, l) => block(`model.layers.${l}`, turn, l)),
    norm: rmsNorm(m, "model.norm", D, eps),
    head: tied ? (ops, x) => ops.linear(x, embedding) : head(m, "lm_head", [V, D]),
  });
}

/** What differs between the attention layers of architectures that name their projections alike. */
export interface SelfAttentionParts {
  /** What follows the projection to queries, and that to keys: the rotation, after a norm perhaps. */
  readonly q: Layer;
  readonly k: Layer;
  /** null: a query sees all keys before it. */
  readonly window: number | null;
}

/** Attention of `prefix.q_proj`, `.k_proj`, `.v_proj` and `.o_proj`, over a cache of its own. */
export function selfAttention(m: Builder, prefix: string, shape: DecoderShape, parts: SelfAttentionParts): Layer {
  const { width: D, heads: H, keyValueHeads: K, headWidth: C } = shape;
  return attention({
    q: chain(linear(m, `${prefix}.q_proj`, [H * C, D]), parts.q),
    k: chain(linear(m, `${prefix}.k_proj`, [K * C, D]), parts.k),
    v: linear(m, `${prefix}.v_proj`, [K * C, D]),
    o: linear(m, `${prefix}.o_proj`, [D, H * C]),
    cache: m.cache({ width: K * C, window: parts.window }),
    headWidth: C,
  });
}
