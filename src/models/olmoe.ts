import { biased, chain, linear, router } from "../layers/linear.ts";
import { mixture, SILU, SOFTMAX } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import type { Architecture } from "./architecture.ts";
import { expertsUnder } from "./expert_names.ts";
import { plain, readShape, selfAttention, transformer } from "./transformer.ts";

/** OLMoE (Muennighoff et al. 2024): many small experts, and one norm over all heads of queries and of keys. */
export const olmoe: Architecture = {
  modelType: "olmoe",
  read(config) {
    const shape = readShape(config, { keyValueHeads: null, positions: 4096, eps: 1e-5, ropeBase: 1e4 });
    const { width: D, heads: H, keyValueHeads: K, headWidth: C, eps } = shape;
    const E = config.count("num_experts", "experts", 64);
    const A = config.top("num_experts_per_tok", E, 8);
    const F = config.count("intermediate_size", "width", 2048);
    const renormalise = config.flag("norm_topk_prob", false) ? 0 : null;
    const projection = config.flag("attention_bias", false) ? biased(linear) : linear;
    config.expect("clip_qkv", null);
    return {
      ...shape,
      build: (m) =>
        transformer(m, shape, (p, turn) => ({
          attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
          attention: selfAttention(m, `${p}.self_attn`, shape, {
            ...plain(turn),
            qkv: projection,
            o: projection,
            q: chain(rmsNorm(m, `${p}.self_attn.q_norm`, H * C, eps), turn),
            k: chain(rmsNorm(m, `${p}.self_attn.k_norm`, K * C, eps), turn),
          }),
          ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
          ...mixture(
            router(m, `${p}.mlp.gate`, [E, D]),
            { ...SOFTMAX, renormalise },
            m.experts({
              experts: E,
              top: A,
              width: D,
              hidden: F,
              activation: SILU,
              names: expertsUnder(`${p}.mlp`, F),
            }),
          ),
        })),
    };
  },
};
