import { decoder } from "../layers/decoder.ts";
import { biased, chain, feedForwardLinear, linear } from "../layers/linear.ts";
import { GELU, gated, gatedUnder } from "../layers/mixture.ts";
import { rmsNormPlusOne } from "../layers/norm.ts";
import { rotation } from "../layers/rotation.ts";
import type { Architecture } from "./architecture.ts";
import type { Config } from "./config.ts";
import { readRope } from "./rope.ts";
import { plain, readCap, readSizes, type Sizes, selfAttention, stack, vocabulary } from "./transformer.ts";

/**
 * Gemma 3 (Gemma Team 2025): five layers with a window to one without, each kind with a rope of its
 * own; a norm of 1 + weight before and after each part.
 */
export const gemma3Text: Architecture = {
  modelType: "gemma3_text",
  read(config) {
    config.expect("hidden_activation", "gelu_pytorch_tanh");
    config.expect("attn_logit_softcapping", null);
    config.expect("use_bidirectional_attention", false);
    const sizes = readSizes(config, {
      heads: 8,
      keyValueHeads: 4,
      headWidth: 256,
      vocabulary: 262208,
      positions: 131072,
      eps: 1e-6,
      tied: true,
    });
    const { width: D, headWidth: C, layers, eps } = sizes;
    const shape = { ...sizes, divisor: Math.sqrt(config.positive("query_pre_attn_scalar", 256)) };
    const F = config.count("intermediate_size", "width", 9216);
    const projection = config.flag("attention_bias", false) ? biased(linear) : linear;
    const every = config.count(["sliding_window_pattern", "_sliding_window_pattern"], "layers", 6);
    const slides = config.slidingLayers(layers, (l) => (l + 1) % every !== 0);
    const window = config.window(4096);
    const ropes = readRopes(config, sizes);
    const capped = readCap(config);
    return {
      ...shape,
      build: (m) => {
        const norm = (module: string, width: number) => rmsNormPlusOne(m, module, width, eps);
        const [full, sliding] = ropes.map((rope) => rotation(m, rope, C, "halves"));
        const { embed, head } = vocabulary(m, shape);
        return decoder({
          embed: (ops) => ops.scale(embed(ops), Math.fround(Math.sqrt(D))),
          blocks: stack(shape, (p, l) => {
            const turn = slides[l] ? sliding! : full!;
            const attention = selfAttention(m, `${p}.self_attn`, shape, {
              ...plain(turn),
              qkv: projection,
              o: projection,
              q: chain(norm(`${p}.self_attn.q_norm`, C), turn),
              k: chain(norm(`${p}.self_attn.k_norm`, C), turn),
              window: slides[l] ? window : null,
            });
            const mlp = gated(m, gatedUnder(`${p}.mlp`), [F, D], feedForwardLinear, GELU);
            return {
              attentionNorm: norm(`${p}.input_layernorm`, D),
              attention: chain(attention, norm(`${p}.post_attention_layernorm`, D)),
              ffnNorm: norm(`${p}.pre_feedforward_layernorm`, D),
              feedForward: chain(mlp, norm(`${p}.post_feedforward_layernorm`, D)),
            };
          }),
          norm: norm("model.norm", D),
          head: capped(head),
        });
      },
    };
  },
};

/** The ropes of full layers and of sliding ones, which `rope_scaling` does not change. */
function readRopes(config: Config, sizes: Sizes) {
  const byType = config.section("rope_parameters");
  return [
    readRope(config, {
      ...sizes,
      parameters: { ...byType.section("full_attention").json, ...config.section("rope_scaling").json },
      base: config.positive("rope_theta", 1e6),
    }),
    readRope(config, {
      ...sizes,
      parameters: byType.section("sliding_attention").json,
      base: config.positive("rope_local_base_freq", 1e4),
    }),
  ];
}
