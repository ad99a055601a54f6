import { biased, feedForwardLinear, linear } from "../layers/linear.ts";
import { gated, gatedUnder, SILU } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import type { Architecture } from "./architecture.ts";
import { plain, readShape, selfAttention, transformer } from "./transformer.ts";

/** Llama (Touvron et al. 2023, Grattafiori et al. 2024), SmolLM2 and others: the plain decoder. */
export const llama: Architecture = {
  modelType: "llama",
  read(config) {
    const shape = readShape(config, { keyValueHeads: null, positions: 2048, eps: 1e-6, ropeBase: 1e4 });
    const { width: D, eps } = shape;
    const F = config.count("intermediate_size", "width");
    const projection = config.flag("attention_bias", false) ? biased(linear) : linear;
    const product = config.flag("mlp_bias", false) ? biased(feedForwardLinear) : feedForwardLinear;
    return {
      ...shape,
      build: (m) =>
        transformer(m, shape, (p, turn) => ({
          attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
          attention: selfAttention(m, `${p}.self_attn`, shape, { ...plain(turn), qkv: projection, o: projection }),
          ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
          feedForward: gated(m, gatedUnder(`${p}.mlp`), [F, D], product, SILU),
        })),
    };
  },
};
