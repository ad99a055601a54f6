import { biased, chain, linear } from "../layers/linear.ts";
import { swiglu } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import type { Architecture } from "./architecture.ts";
import { plain, readShape, selfAttention, transformer } from "./transformer.ts";

/** Qwen3 (Yang et al. 2025), dense: a norm on each head of queries and keys instead of a bias. */
export const qwen3: Architecture = {
  modelType: "qwen3",
  read(config) {
    const shape = readShape(config, { keyValueHeads: 32, positions: 32768, eps: 1e-6, ropeBase: 1e4, headWidth: 128 });
    const { width: D, headWidth: C, layers, eps } = shape;
    const F = config.count("intermediate_size", "width", 22016);
    const firstSliding = config.whole("max_window_layers", "layers", 28);
    const window = config.window(4096, false);
    const slides = config.slidingLayers(layers, (l) => l >= firstSliding);
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
            window: slides[l] ? window : null,
          }),
          ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
          feedForward: swiglu(m, `${p}.mlp`, [F, D]),
        })),
    };
  },
};
