import { biased, linear } from "../layers/linear.ts";
import { swiglu } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import type { Architecture } from "./architecture.ts";
import { plain, readShape, selfAttention, transformer } from "./transformer.ts";

/** Qwen2 and Qwen2.5 (Yang et al. 2024): queries, keys and values have a bias, and the last layers may slide. */
export const qwen2: Architecture = {
  modelType: "qwen2",
  read(config) {
    const shape = readShape(config, { keyValueHeads: 32, positions: 32768, eps: 1e-6, ropeBase: 1e4 });
    const { width: D, layers, eps } = shape;
    const F = config.count("intermediate_size", "width", 22016);
    const firstSliding = config.whole("max_window_layers", "layers", 28);
    const window = config.window(4096, false);
    const slides = config.slidingLayers(layers, (l) => l >= firstSliding);
    return {
      ...shape,
      build: (m) =>
        transformer(m, shape, (p, turn, l) => ({
          attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
          attention: selfAttention(m, `${p}.self_attn`, shape, {
            ...plain(turn),
            qkv: biased(linear),
            window: slides[l] ? window : null,
          }),
          ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
          feedForward: swiglu(m, `${p}.mlp`, [F, D]),
        })),
    };
  },
};
