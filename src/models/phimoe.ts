import { decoder } from "../layers/decoder.ts";
import { bias, biased, chain, linear, router } from "../layers/linear.ts";
import { mixture, SILU } from "../layers/mixture.ts";
import { layerNorm } from "../layers/norm.ts";
import { rotation } from "../layers/rotation.ts";
import type { Architecture } from "./architecture.ts";
import { bad } from "./config.ts";
import { numberedExperts } from "./expert_names.ts";
import { plain, readShape, selfAttention, stack, vocabulary } from "./transformer.ts";

/** Phi-3.5-MoE (Abdin et al. 2024): two experts by SparseMixer, layer norms, and biases. */
export const phiMoe: Architecture = {
  modelType: "phimoe",
  read(config) {
    const shape = readShape(config, { keyValueHeads: 8, positions: 131072, eps: 1e-5, ropeBase: 1e6 });
    const { width: D, headWidth: C, vocabulary: V, eps } = shape;
    const window = config.window(null);
    const E = config.count(["num_local_experts", "num_experts"], "experts", 16);
    const A = config.top("num_experts_per_tok", E, 2);
    if (A !== 2) throw bad(`"num_experts_per_tok" is ${A}; SparseMixer chooses 2`);
    const F = config.count("intermediate_size", "width", 6400);
    const jitter = config.positive("router_jitter_noise", 0.01);
    const projection = config.flag("attention_bias", false) ? biased(linear) : linear;
    const hasHeadBias = config.flag("lm_head_bias", false);
    return {
      ...shape,
      build: (m) => {
        const turn = rotation(m, shape.rope, C, "halves");
        const { embed, head } = vocabulary(m, shape);
        return decoder({
          embed,
          blocks: stack(shape, (p) => ({
            attentionNorm: layerNorm(m, `${p}.input_layernorm`, D, eps),
            attention: selfAttention(m, `${p}.self_attn`, shape, {
              ...plain(turn),
              qkv: projection,
              o: projection,
              window,
            }),
            ffnNorm: layerNorm(m, `${p}.post_attention_layernorm`, D, eps),
            ...mixture(
              router(m, `${p}.block_sparse_moe.gate`, [E, D]),
              { kind: "sparsemixer", jitter },
              m.experts({
                experts: E,
                top: A,
                width: D,
                hidden: F,
                activation: SILU,
                names: numberedExperts(`${p}.block_sparse_moe`),
              }),
            ),
          })),
          norm: layerNorm(m, "model.norm", D, eps),
          head: hasHeadBias ? chain(head, bias(m, "lm_head", V)) : head,
        });
      },
    };
  },
};
