import { decoder } from "../layers/decoder.ts";
import { bias, biased, chain, feedForwardLinear, linear, router, vector } from "../layers/linear.ts";
import { besides, gated, gatedUnder, mixture, SILU, SOFTMAX } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import { rotation } from "../layers/rotation.ts";
import type { Architecture } from "./architecture.ts";
import { bad } from "./config.ts";
import { expertsUnder } from "./expert_names.ts";
import { plain, readShape, selfAttention, stack, vocabulary } from "./transformer.ts";

/** ERNIE 4.5 (Baidu 2025): neighbouring channels turn together, and the router's choice has a bias. */
export const ernie45Moe: Architecture = {
  modelType: "ernie4_5_moe",
  read(config) {
    const shape = readShape(config, {
      keyValueHeads: 4,
      positions: 131072,
      eps: 1e-5,
      ropeBase: 5e5,
      tied: true,
    });
    const { width: D, headWidth: C, vocabulary: V, layers, eps } = shape;
    const E = config.count(["moe_num_experts", "num_experts"], "experts", 64);
    const A = config.top(["moe_k", "num_experts_per_tok"], E, 6);
    const F = config.count("moe_intermediate_size", "width", 1536);
    const denseF = config.count("intermediate_size", "width", 12288);
    const sharedF = F * config.whole("moe_num_shared_experts", "experts", 2);
    const every = config.count("moe_layer_interval", "layers", 1);
    const first = config.whole("moe_layer_start_index", "layers", 1);
    const last =
      config.json.moe_layer_end_index === -1 ? layers : config.whole("moe_layer_end_index", "layers", layers);
    const isSparse = (l: number) => (l + 1) % every === 0 && first <= l && l <= last;
    // Weights are divided by their sum or this; a sum is never so small that it mattered.
    const leastSum = config.positive("moe_norm_min", 1e-12);
    if (leastSum > 1e-6) throw bad(`"moe_norm_min" is ${leastSum}; mixtab takes what is at most 1e-6`);
    const isBiased = config.flag("use_bias", false);
    const [projection, dense] = isBiased ? [biased(linear), biased(feedForwardLinear)] : [linear, feedForwardLinear];
    return {
      ...shape,
      build: (m) => {
        const turn = rotation(m, shape.rope, C, "adjacent");
        const { embed, head } = vocabulary(m, shape);
        const experts = (p: string) => {
          const choice = `${p}.moe_statics.e_score_correction_bias`;
          const choiceBias = m.has(choice) ? vector(m, choice, E) : null; // MLX drops it
          const routed = mixture(
            router(m, `${p}.gate`, [E, D]),
            { ...SOFTMAX, choiceBias, renormalise: leastSum },
            m.experts({ experts: E, top: A, width: D, hidden: F, activation: SILU, names: expertsUnder(p, F) }),
          );
          const shared = gatedUnder(`${p}.shared_experts`);
          return sharedF === 0 ? routed : besides(routed, gated(m, shared, [sharedF, D], projection, SILU));
        };
        return decoder({
          embed,
          blocks: stack(shape, (p, l) => ({
            attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
            attention: selfAttention(m, `${p}.self_attn`, shape, { ...plain(turn), qkv: projection, o: projection }),
            ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
            ...(isSparse(l)
              ? experts(`${p}.mlp`)
              : { feedForward: gated(m, gatedUnder(`${p}.mlp`), [denseF, D], dense, SILU) }),
          })),
          norm: rmsNorm(m, "model.norm", D, eps),
          head: isBiased ? chain(head, bias(m, "lm_head", V)) : head,
        });
      },
    };
  },
};
