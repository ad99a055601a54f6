/**
 * What most architectures share: the config keys of a decoder, and the decoder around its blocks.
 */
import { attention } from "../layers/attention.ts";
import type { Builder, Layer, Speech } from "../layers/builder.ts";
import { type BlockParts, type DecoderParts, decoder } from "../layers/decoder.ts";
import { chain, head, linear, type MakeLinear } from "../layers/linear.ts";
import { rmsNorm } from "../layers/norm.ts";
import { rotation } from "../layers/rotation.ts";
import { MAX_HEAD_WIDTH, type Weight } from "../ops/ops.ts";
import type { Model } from "./architecture.ts";
import { bad, type Config } from "./config.ts";
import { type Rope, readRope, ropeParameters } from "./rope.ts";

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
  /** C; D / H where an architecture has no other. */
  readonly headWidth?: number;
  /** The rope where config.json describes none. */
  readonly rope?: Readonly<Record<string, unknown>>;
  /** Whether the head shares the embedding's matrix; where this is not said, the files decide. */
  readonly tied?: boolean;
  /** H and V of an architecture whose published configs leave even them out. */
  readonly heads?: number;
  readonly vocabulary?: number;
}

/** The sizes of a decoder, without its rope. Errors: bad-config. */
export function readSizes(config: Config, defaults: Omit<Defaults, "ropeBase" | "rope">) {
  const width = config.count("hidden_size", "width");
  const heads = config.count("num_attention_heads", "heads", defaults.heads);
  // An explicit null means one for each query head, and the head width that follows from these.
  const unsaid = config.has("num_key_value_heads") ? heads : (defaults.keyValueHeads ?? heads);
  const keyValueHeads = config.count("num_key_value_heads", "heads", unsaid);
  const evenWidth = width / heads;
  const headWidth = config.count(
    "head_dim",
    "width",
    config.has("head_dim") ? evenWidth : (defaults.headWidth ?? evenWidth),
  );
  if (heads % keyValueHeads !== 0)
    throw bad(`${heads} query heads do not share ${keyValueHeads} key/value heads evenly`);
  if (headWidth % 4 !== 0 || headWidth > MAX_HEAD_WIDTH)
    throw bad(`head_dim is ${headWidth}; mixtab takes multiples of 4 up to ${MAX_HEAD_WIDTH}`);
  return {
    width,
    heads,
    keyValueHeads,
    headWidth,
    layers: config.count("num_hidden_layers", "layers"),
    vocabulary: config.count("vocab_size", "vocabulary", defaults.vocabulary),
    positions: config.count("max_position_embeddings", "positions", defaults.positions),
    eps: config.positive("rms_norm_eps", defaults.eps),
    /** What scores are divided by. */
    divisor: Math.sqrt(headWidth),
    /** null: config.json does not say; the head is then tied if the files have no lm_head. */
    tied: config.flag("tie_word_embeddings", defaults.tied ?? null),
  };
}
export type Sizes = ReturnType<typeof readSizes>;

/** Sizes, rope and activation: the keys that most configs have. Errors: bad-config. */
export function readShape(config: Config, defaults: Defaults) {
  config.expect("hidden_act", "silu");
  const sizes = readSizes(config, defaults);
  const said = ropeParameters(config);
  const rope = readRope(config, {
    ...sizes,
    parameters: Object.keys(said).length > 0 ? said : (defaults.rope ?? {}),
    base: config.positive("rope_theta", defaults.ropeBase),
  });
  return { ...sizes, rope, positions: rope.positions, ...limitOf(sizes, rope) };
}
export type DecoderShape = ReturnType<typeof readShape>;

/** Why contexts are shorter than max_position_embeddings, where they are. */
function limitOf({ positions }: Sizes, rope: Rope): Pick<Model, "limit"> {
  if (rope.positions === positions) return {};
  return { limit: `config.json says ${positions}, and mixtab has no rope for more than ${rope.positions} yet` };
}

/** Makes block l. `prefix` begins its weights' names: `model.layers.3`. */
export type MakeBlock<B = BlockParts> = (prefix: string, l: number) => B;

/** The blocks of a model, one after the other. */
export const stack = ({ layers }: Sizes, block: MakeBlock): readonly BlockParts[] =>
  Array.from({ length: layers }, (_, l) => block(`model.layers.${l}`, l));

/** Both ends of a model: ids to rows [T, D], and rows to logits [T, V]. */
export function vocabulary(m: Builder, { width: D, vocabulary: V, tied }: Sizes): Pick<DecoderParts, "embed" | "head"> {
  const embedding = m.weight({ names: [{ module: "model.embed_tokens" }], shape: [V, D], role: "embedding" });
  const isTied = tied ?? !m.has("lm_head");
  return {
    embed: (ops) => ops.embed(embedding),
    head: isTied ? (ops, x) => ops.linear(x, embedding) : head(m, "lm_head", [V, D]),
  };
}

/** The whole model around its blocks, which `turn` queries and keys by their positions. */
export function transformer(
  m: Builder,
  shape: DecoderShape,
  block: (prefix: string, turn: Layer, l: number) => BlockParts,
): Speech {
  const turn = rotation(m, shape.rope, shape.headWidth, "halves");
  return decoder({
    ...vocabulary(m, shape),
    blocks: stack(shape, (prefix, l) => block(prefix, turn, l)),
    norm: rmsNorm(m, "model.norm", shape.width, shape.eps),
  });
}

/** What differs between the attention layers of architectures that name their projections alike. */
export interface SelfAttentionParts {
  /** How the projections to queries, keys and values are made, and the one back. */
  readonly qkv: MakeLinear;
  readonly o: MakeLinear;
  /** What follows the projection to queries, and that to keys: the rotation, after a norm perhaps. */
  readonly q: Layer;
  readonly k: Layer;
  /** null: a query sees all keys before it. */
  readonly window: number | null;
  /** See `Attention.sinks` of ops.ts. */
  readonly sinks: Weight | null;
}

/** What plain attention has: nothing more than a rotation. */
export const plain = (turn: Layer): SelfAttentionParts => ({
  qkv: linear,
  o: linear,
  q: turn,
  k: turn,
  window: null,
  sinks: null,
});

/** Attention of `prefix.q_proj`, `.k_proj`, `.v_proj` and `.o_proj`, over a cache of its own. */
export function selfAttention(m: Builder, prefix: string, shape: Sizes, parts: SelfAttentionParts): Layer {
  const { width: D, heads: H, keyValueHeads: K, headWidth: C, divisor } = shape;
  const { qkv, o, q, k, window, sinks } = parts;
  return attention({
    q: chain(qkv(m, `${prefix}.q_proj`, [H * C, D]), q),
    k: chain(qkv(m, `${prefix}.k_proj`, [K * C, D]), k),
    v: qkv(m, `${prefix}.v_proj`, [K * C, D]),
    o: o(m, `${prefix}.o_proj`, [D, H * C]),
    over: { cache: m.cache({ width: K * C, window }), headWidth: C, divisor, sinks },
  });
}

/** Which layers have experts: all but `mlp_only_layers`, and of the others each `decoder_sparse_step`-th. */
export function sparseLayers(config: Config): (l: number) => boolean {
  const every = config.count("decoder_sparse_step", "layers", 1);
  const dense = config.layers("mlp_only_layers");
  return (l) => !dense.has(l) && (l + 1) % every === 0;
}

/** What caps the logits of a head at `final_logit_softcapping`; nothing where that is absent or null. */
export function readCap(config: Config): (head: Layer) => Layer {
  if (config.json.final_logit_softcapping == null) return (head) => head;
  const cap = config.positive("final_logit_softcapping");
  return (head) => (ops, x) => ops.softcap(head(ops, x), cap);
}
