import { router } from "../layers/linear.ts";
import { mixture, SILU, SOFTMAX } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import type { Architecture } from "./architecture.ts";
import { fusedExpert, numberedExperts } from "./expert_names.ts";
import { plain, readShape, selfAttention, transformer } from "./transformer.ts";

/**
 * Mixtral of experts (Jiang et al. 2024): Mistral with a sparse mixture of SwiGLU experts in every
 * layer.
 */
export const mixtral: Architecture = {
  modelType: "mixtral",
  read(config) {
    const shape = readShape(config, { keyValueHeads: 8, positions: 131072, eps: 1e-5, ropeBase: 1e6 });
    const { width: D, eps } = shape;
    const window = config.window(null);
    const E = config.count(["num_local_experts", "num_experts"], "experts", 8);
    const A = config.top("num_experts_per_tok", E, 2);
    const F = config.count("intermediate_size", "width");
    return {
      ...shape,
      build: (m) =>
        transformer(m, shape, (p, turn) => ({
          attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
          attention: selfAttention(m, `${p}.self_attn`, shape, { ...plain(turn), window }),
          ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
          ...mixture(
            router(m, [`${p}.block_sparse_moe.gate`, `${p}.mlp.gate`], [E, D]),
            { ...SOFTMAX, renormalise: 0 },
            m.experts({
              experts: E,
              top: A,
              width: D,
              hidden: F,
              activation: SILU,
              names: (expert, part) => [
                ...numberedExperts(`${p}.block_sparse_moe`)(expert, part),
                fusedExpert(`${p}.mlp`, F, expert, part),
              ],
            }),
          ),
        })),
    };
  },
};
