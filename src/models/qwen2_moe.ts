import { biased, linear, router } from "../layers/linear.ts";
import { besides, mixture, SILU, SOFTMAX, sharedExpert, swiglu, weighed } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import type { Architecture } from "./architecture.ts";
import { expertsUnder } from "./expert_names.ts";
import { plain, readShape, selfAttention, sparseLayers, transformer } from "./transformer.ts";

/** Qwen1.5-MoE and Qwen2-57B-A14B (Yang et al. 2024): an expert for every token, behind a gate, beside the routed ones. */
export const qwen2Moe: Architecture = {
  modelType: "qwen2_moe",
  read(config) {
    const shape = readShape(config, { keyValueHeads: 16, positions: 32768, eps: 1e-6, ropeBase: 1e4 });
    const { width: D, layers, eps } = shape;
    const E = config.count("num_experts", "experts", 60);
    const A = config.top("num_experts_per_tok", E, 4);
    const F = config.count("moe_intermediate_size", "width", 1408);
    const denseF = config.count("intermediate_size", "width", 5632);
    const sharedF = config.count("shared_expert_intermediate_size", "width", 5632);
    const renormalise = config.flag("norm_topk_prob", false) ? 0 : null;
    const qkv = config.flag("qkv_bias", true) ? biased(linear) : linear;
    const isSparse = sparseLayers(config);
    const afterSliding = config.whole("max_window_layers", "layers", 28);
    const slides = config.slidingLayers(layers, (l) => l < afterSliding && (l + 1) % 2 !== 0);
    const window = config.window(4096, false);
    return {
      ...shape,
      build: (m) =>
        transformer(m, shape, (p, turn, l) => ({
          attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
          attention: selfAttention(m, `${p}.self_attn`, shape, {
            ...plain(turn),
            qkv,
            window: slides[l] ? window : null,
          }),
          ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
          ...(isSparse(l)
            ? besides(
                mixture(
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
                weighed(
                  router(m, `${p}.mlp.shared_expert_gate`, [1, D]),
                  sharedExpert(m, `${p}.mlp.shared_expert`, [sharedF, D]),
                ),
              )
            : { feedForward: swiglu(m, `${p}.mlp`, [denseF, D]) }),
        })),
    };
  },
};
