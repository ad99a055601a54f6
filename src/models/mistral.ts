import { attention } from "../layers/attention.ts";
import { chain, linear } from "../layers/linear.ts";
import { swiglu } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import type { Architecture } from "./architecture.ts";
import { readShape, transformer } from "./transformer.ts";

/** Mistral 7B (Jiang et al. 2023): grouped-query, sliding-window attention and a dense SwiGLU. */
export const mistral: Architecture = {
  modelType: "mistral",
  read(config) {
    const shape = readShape(config, { keyValueHeads: 8, positions: 131072, eps: 1e-6, ropeBase: 1e4 });
    const { width: D, heads: H, keyValueHeads: K, headWidth: C, eps } = shape;
    const window = config.window(4096);
    const F = config.count("intermediate_size", "width");
    return {
      ...shape,
      build: (m) =>
        transformer(m, shape, (p, turn) => ({
          attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
          attention: attention({
            q: chain(linear(m, `${p}.self_attn.q_proj`, [H * C, D]), turn),
            k: chain(linear(m, `${p}.self_attn.k_proj`, [K * C, D]), turn),
            v: linear(m, `${p}.self_attn.v_proj`, [K * C, D]),
            o: linear(m, `${p}.self_attn.o_proj`, [D, H * C]),
            cache: m.cache({ width: K * C, window }),
            headWidth: C,
          }),
          ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
          feedForward: swiglu(m, `${p}.mlp`, [F, D]),
        })),
    };
  },
};
