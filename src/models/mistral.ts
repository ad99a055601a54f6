import { decoder } from "../layers/decoder.ts";
import type { FeedForward } from "../layers/feed_forward.ts";
import { swiglu } from "../layers/feed_forward.ts";
import { inverseFrequencies } from "../layers/rope.ts";
import type { Ops } from "../ops/ops.ts";
import type { Architecture, LoadedModel, ModelSpec, WeightSpec } from "./architecture.ts";
import { bad, type Config } from "./config.ts";

/** Mistral 7B (Jiang et al. 2023): grouped-query, sliding-window attention and a dense SwiGLU. */
export const mistral: Architecture = {
  modelType: "mistral",
  read(config) {
    const hidden = config.count("intermediate_size", "width");
    const backbone = readBackbone(config, 1e4);
    const { width } = backbone;
    return model("mistral", backbone, {
      experts: null,
      weights: (l) => ({
        [`${l}.w1`]: linear(`model.layers.${l}.mlp.gate_proj`, hidden, width),
        [`${l}.w2`]: linear(`model.layers.${l}.mlp.down_proj`, width, hidden),
        [`${l}.w3`]: linear(`model.layers.${l}.mlp.up_proj`, hidden, width),
      }),
      feedForward: ({ weight }, l) => swiglu(weight(`${l}.w1`), weight(`${l}.w2`), weight(`${l}.w3`)),
    });
  },
};

/** What the Mistral family shares, whatever its feed-forward layers are. */
export type Backbone = ReturnType<typeof readBackbone>;

/** The config keys of the backbone. `ropeBase`: where config.json names none. */
export function readBackbone(config: Config, ropeBase: number) {
  const width = config.count("hidden_size", "width");
  const heads = config.count("num_attention_heads", "heads");
  const keyValueHeads = config.count("num_key_value_heads", "heads", heads);
  const headWidth = config.count("head_dim", "width", width / heads);
  if (heads % keyValueHeads !== 0)
    throw bad(`${heads} query heads do not share ${keyValueHeads} key/value heads evenly`);
  if (headWidth % 8 !== 0 || headWidth > 256)
    throw bad(`head_dim is ${headWidth}; mixtab takes multiples of 8 up to 256`);
  config.expect("hidden_act", "silu");
  return {
    width,
    heads,
    keyValueHeads,
    headWidth,
    layers: config.count("num_hidden_layers", "layers"),
    vocabulary: config.count("vocab_size", "vocabulary"),
    positions: config.count("max_position_embeddings", "positions", 4096 * 32),
    window: config.window(),
    eps: config.positive("rms_norm_eps", 1e-6),
    inverseFrequencies: inverseFrequencies(config.ropeBase(ropeBase), headWidth),
    tied: config.flag("tie_word_embeddings", false),
  };
}

/** What differs between the members of the family. */
interface Differences {
  readonly experts: ModelSpec["experts"];
  weights(layer: number): Readonly<Record<string, WeightSpec>>;
  feedForward(loaded: LoadedModel, layer: number): FeedForward;
}

/** The whole model around its feed-forward layers. */
export function model(modelType: string, backbone: Backbone, differences: Differences): ModelSpec {
  const { width, heads, keyValueHeads, headWidth, layers, vocabulary, positions, window, eps, tied } = backbone;
  const weights: Record<string, WeightSpec> = {
    embedding: matrix("model.embed_tokens", vocabulary, width, "embedding"),
  };
  for (let l = 0; l < layers; l++) {
    const prefix = `model.layers.${l}`;
    Object.assign(weights, {
      [`${l}.attentionNorm`]: matrix(`${prefix}.input_layernorm`, 1, width, "norm"),
      [`${l}.wq`]: linear(`${prefix}.self_attn.q_proj`, heads * headWidth, width),
      [`${l}.wk`]: linear(`${prefix}.self_attn.k_proj`, keyValueHeads * headWidth, width),
      [`${l}.wv`]: linear(`${prefix}.self_attn.v_proj`, keyValueHeads * headWidth, width),
      [`${l}.wo`]: linear(`${prefix}.self_attn.o_proj`, width, heads * headWidth),
      [`${l}.ffnNorm`]: matrix(`${prefix}.post_attention_layernorm`, 1, width, "norm"),
      ...differences.weights(l),
    });
  }
  weights.norm = matrix("model.norm", 1, width, "norm");
  if (!tied) weights.head = linear("lm_head", vocabulary, width);

  return {
    modelType,
    width,
    vocabulary,
    layers,
    positions,
    window,
    cacheWidth: keyValueHeads * headWidth,
    inverseFrequencies: backbone.inverseFrequencies,
    weights,
    experts: differences.experts,
    say(ops: Ops, loaded: LoadedModel) {
      const { weight, rope, caches } = loaded;
      decoder(ops, {
        embedding: weight("embedding"),
        blocks: caches.map((cache, l) => ({
          attentionNorm: weight(`${l}.attentionNorm`),
          attention: {
            wq: weight(`${l}.wq`),
            wk: weight(`${l}.wk`),
            wv: weight(`${l}.wv`),
            wo: weight(`${l}.wo`),
            rope,
            headWidth,
          },
          cache,
          ffnNorm: weight(`${l}.ffnNorm`),
          feedForward: differences.feedForward(loaded, l),
        })),
        norm: weight("norm"),
        head: weight(tied ? "embedding" : "head"),
        eps,
      });
    },
  };
}

/** A matrix published under one name. */
export const matrix = (module: string, rows: number, columns: number, role: WeightSpec["role"]): WeightSpec => ({
  names: [{ module }],
  rows,
  columns,
  role,
});

const linear = (module: string, rows: number, columns: number) => matrix(module, rows, columns, "linear");
