import { biased, chain, linear, routerOf8Bits } from "../layers/linear.ts";
import { mixture, SILU, SOFTMAX, swiglu } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import type { Architecture } from "./architecture.ts";
import { expertsUnder } from "./expert_names.ts";
import { plain, readShape, selfAttention, sparseLayers, transformer } from "./transformer.ts";

/**
 * Qwen3 MoE (Yang et al. 2025): a norm on each head of queries and keys, dense layers among sparse
 * ones.
 */
export const qwen3Moe: Architecture = {
  modelType: "qwen3_moe",
  read(config) {
    const shape = readShape(config, { keyValueHeads: 4, positions: 32768, eps: 1e-6, ropeBase: 1e4 });
    const { width: D, headWidth: C, eps } = shape;
    const window = config.window(4096, false);
    const E = config.count(["num_experts", "num_local_experts"], "experts", 128);
    const A = config.top("num_experts_per_tok", E, 8);
    const F = config.count("moe_intermediate_size", "width", 768);
    const denseF = config.count("intermediate_size", "width", 6144);
    const renormalise = config.flag("norm_topk_prob", false) ? 0 : null;
    const isSparse = sparseLayers(config);
    const projection = config.flag("attention_bias", false) ? biased(linear) : linear;
    return {
      ...shape,
      build: (m) =>
        transformer(m, shape, (p, turn, l) => ({
          attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
          attention: selfAttention(m, `${p}.self_attn`, shape, {
            ...plain(turn),
            qkv: projection,
            o: projection,
            q: chain(rmsNorm(m, `${p}.self_attn.q_norm`, C, eps), turn),
            k: chain(rmsNorm(m, `${p}.self_attn.k_norm`, C, eps), turn),
            window,
          }),
          ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
          ...(isSparse(l)
            ? mixture(
                routerOf8Bits(m, `${p}.mlp.gate`, [E, D]),
                { ...SOFTMAX, renormalise },
                m.experts({
                  experts: E,
                  top: A,
                  width: D,
                  hidden: F,
                  activation: SILU,
                  names: expertsUnder(`${p}.mlp`, F),
                }),
              )
            : { feedForward: swiglu(m, `${p}.mlp`, [denseF, D]) }),
        })),
    };
  },
};
