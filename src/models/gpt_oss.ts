import { biased, linear, routerOf8Bits, vector } from "../layers/linear.ts";
import { mixture, SOFTMAX } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import type { Architecture } from "./architecture.ts";
import { alternatingBiases, alternatingExperts } from "./expert_names.ts";
import { plain, readShape, selfAttention, transformer } from "./transformer.ts";

/** The rope of the published models, for a config.json that has none. */
const YARN = {
  rope_type: "yarn",
  factor: 32,
  beta_fast: 32,
  beta_slow: 1,
  truncate: false,
  original_max_position_embeddings: 4096,
};

/** gpt-oss (OpenAI 2025): every other layer has a window, heads have sinks, everything has a bias. */
export const gptOss: Architecture = {
  modelType: "gpt_oss",
  read(config) {
    const shape = readShape(config, {
      keyValueHeads: 8,
      headWidth: 64,
      positions: 131072,
      eps: 1e-5,
      ropeBase: 1.5e5,
      vocabulary: 201088,
      rope: YARN,
    });
    const { width: D, heads: H, layers, eps } = shape;
    const slides = config.slidingLayers(layers, (l) => l % 2 === 0);
    const window = config.window(128);
    const E = config.count(["num_local_experts", "num_experts"], "experts", 128);
    const A = config.top(["num_experts_per_tok", "experts_per_token"], E, 4);
    const F = config.count("intermediate_size", "width", 2880);
    const [alpha, limit] = [config.positive("swiglu_alpha", 1.702), config.positive("swiglu_limit", 7)];
    const projection = config.flag("attention_bias", true) ? biased(linear) : linear;
    return {
      ...shape,
      build: (m) =>
        transformer(m, shape, (p, turn, l) => ({
          attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
          attention: selfAttention(m, `${p}.self_attn`, shape, {
            ...plain(turn),
            qkv: projection,
            o: projection,
            window: slides[l] ? window : null,
            sinks: vector(m, `${p}.self_attn.sinks`, H),
          }),
          ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
          ...mixture(
            biased(routerOf8Bits)(m, `${p}.mlp.router`, [E, D]),
            { ...SOFTMAX, renormalise: 0 },
            m.experts({
              experts: E,
              top: A,
              width: D,
              hidden: F,
              activation: { kind: "clampedSwiglu", alpha, limit },
              names: alternatingExperts(`${p}.mlp.experts`),
              biases: alternatingBiases(`${p}.mlp.experts`),
            }),
          ),
        })),
    };
  },
};
