import { swiglu } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import type { Architecture } from "./architecture.ts";
import { plain, readShape, selfAttention, transformer } from "./transformer.ts";

/** Mistral 7B (Jiang et al. 2023): grouped-query, sliding-window attention and a dense SwiGLU. */
export const mistral: Architecture = {
  modelType: "mistral",
  read(config) {
    const shape = readShape(config, { keyValueHeads: 8, positions: 131072, eps: 1e-6, ropeBase: 1e4 });
    const { width: D, eps } = shape;
    const window = config.window(4096);
    const F = config.count("intermediate_size", "width");
    return {
      ...shape,
      build: (m) =>
        transformer(m, shape, (p, turn) => ({
          attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
          attention: selfAttention(m, `${p}.self_attn`, shape, { ...plain(turn), window }),
          ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
          feedForward: swiglu(m, `${p}.mlp`, [F, D]),
        })),
    };
  },
};
