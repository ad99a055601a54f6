import { decoder } from "../layers/decoder.ts";
import { chain, feedForwardLinear, linear, routerOf8Bits, vector } from "../layers/linear.ts";
import { gated, mixture, SILU, SOFTMAX } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import { rotation } from "../layers/rotation.ts";
import { shortConvolution } from "../layers/short_convolution.ts";
import type { Architecture } from "./architecture.ts";
import { numberedExperts } from "./expert_names.ts";
import { plain, readShape, selfAttention, stack, vocabulary } from "./transformer.ts";

/** LFM2 MoE (Liquid AI 2025): most layers convolve the last few tokens, the others attend to all. */
export const lfm2Moe: Architecture = {
  modelType: "lfm2_moe",
  read(config) {
    const read = readShape(config, { keyValueHeads: 8, positions: 128000, eps: 1e-5, ropeBase: 1e6, tied: true });
    const shape = {
      ...read,
      eps: config.positive("norm_eps", 1e-5),
      tied: config.flag("tie_embedding", read.tied),
    };
    const { width: D, headWidth: C, layers, eps } = shape;
    const kinds = config.layerTypes(layers, ["conv", "full_attention"]);
    const n = config.count("conv_L_cache", "width", 3);
    config.expect("conv_bias", false);
    const E = config.count("num_experts", "experts", 32);
    const A = config.top("num_experts_per_tok", E, 4);
    const F = config.count("moe_intermediate_size", "width", 1792);
    const denseF = config.count("intermediate_size", "width", 7168);
    const dense = config.whole("num_dense_layers", "layers", 2);
    const rule = {
      ...SOFTMAX,
      score: "sigmoid",
      renormalise: config.flag("norm_topk_prob", true) ? 1e-6 : null,
      scale: config.positive("routed_scaling_factor", 1),
    } as const;
    const hasChoiceBias = config.flag("use_expert_bias", true);
    return {
      ...shape,
      build: (m) => {
        const norm = (module: string, width: number) => rmsNorm(m, module, width, eps);
        const turn = rotation(m, shape.rope, C, "halves");
        const { embed, head } = vocabulary(m, shape);
        const attend = (p: string) =>
          selfAttention(m, p, shape, {
            ...plain(turn),
            o: (_, __, size) => linear(m, `${p}.out_proj`, size),
            q: chain(norm(`${p}.q_layernorm`, C), turn),
            k: chain(norm(`${p}.k_layernorm`, C), turn),
          });
        const experts = (p: string) =>
          mixture(
            routerOf8Bits(m, `${p}.gate`, [E, D]),
            { ...rule, choiceBias: hasChoiceBias ? vector(m, `${p}.expert_bias`, E) : null },
            m.experts({ experts: E, top: A, width: D, hidden: F, activation: SILU, names: numberedExperts(p) }),
          );
        const swiglu = (p: string) => {
          const names = {
            gate: [`${p}.w1`, `${p}.gate_proj`],
            up: [`${p}.w3`, `${p}.up_proj`],
            down: [`${p}.w2`, `${p}.down_proj`],
          };
          return { feedForward: gated(m, names, [denseF, D], feedForwardLinear, SILU) };
        };
        return decoder({
          embed,
          blocks: stack(shape, (p, l) => ({
            attentionNorm: norm(`${p}.operator_norm`, D),
            attention: kinds[l] === "conv" ? shortConvolution(m, `${p}.conv`, D, n) : attend(`${p}.self_attn`),
            ffnNorm: norm(`${p}.ffn_norm`, D),
            ...(l < dense ? swiglu : experts)(`${p}.feed_forward`),
          })),
          norm: norm("model.embedding_norm", D),
          head,
        });
      },
    };
  },
};
