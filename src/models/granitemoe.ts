import { decoder } from "../layers/decoder.ts";
import { biased, chain, linear, linearOf8Bits, routerOf8Bits, scaled } from "../layers/linear.ts";
import { mixture, SILU, SOFTMAX } from "../layers/mixture.ts";
import { rmsNorm } from "../layers/norm.ts";
import { rotation } from "../layers/rotation.ts";
import type { Architecture } from "./architecture.ts";
import { stackedExpert } from "./expert_names.ts";
import { plain, readShape, selfAttention, stack, vocabulary } from "./transformer.ts";

/** Granite 3 MoE (IBM 2024): multipliers on the embedding, on scores, and on what each part adds. */
export const graniteMoe: Architecture = {
  modelType: "granitemoe",
  read(config) {
    const read = readShape(config, { keyValueHeads: null, positions: 2048, eps: 1e-6, ropeBase: 1e4 });
    const shape = { ...read, divisor: 1 / config.positive("attention_multiplier", 1) };
    const { width: D, headWidth: C, eps } = shape;
    const E = config.count(["num_local_experts", "num_experts"], "experts", 8);
    const A = config.top("num_experts_per_tok", E, 2);
    const F = config.count("intermediate_size", "width", 11008);
    const isBiased = config.flag("attention_bias", false);
    const [qkv, o] = isBiased ? [biased(linear), biased(linearOf8Bits)] : [linear, linearOf8Bits];
    const embeddingFactor = config.positive("embedding_multiplier", 1);
    const residualFactor = config.positive("residual_multiplier", 1);
    const logitsDivisor = config.positive("logits_scaling", 1);
    return {
      ...shape,
      build: (m) => {
        const turn = rotation(m, shape.rope, C, "halves");
        const { embed, head } = vocabulary(m, shape);
        return decoder({
          embed: (ops) => ops.scale(embed(ops), embeddingFactor),
          blocks: stack(shape, (p) => {
            const moe = `${p}.block_sparse_moe`;
            const attention = selfAttention(m, `${p}.self_attn`, shape, {
              ...plain(turn),
              qkv,
              o,
            });
            const { feedForward, ...rest } = mixture(
              routerOf8Bits(m, `${moe}.router.layer`, [E, D]),
              { ...SOFTMAX, renormalise: 0 },
              m.experts({
                experts: E,
                top: A,
                width: D,
                hidden: F,
                activation: SILU,
                names: (expert, part) => [
                  part === "w2"
                    ? { module: `${moe}.output_linear`, stack: expert }
                    : { module: `${moe}.input_linear`, stack: expert, firstRow: part === "w1" ? 0 : F },
                  stackedExpert(moe, expert, part),
                ],
              }),
            );
            return {
              attentionNorm: rmsNorm(m, `${p}.input_layernorm`, D, eps),
              attention: chain(attention, scaled(residualFactor)),
              ffnNorm: rmsNorm(m, `${p}.post_attention_layernorm`, D, eps),
              feedForward: chain(feedForward, scaled(residualFactor)),
              ...rest,
            };
          }),
          norm: rmsNorm(m, "model.norm", D, eps),
          head: chain(head, scaled(1 / logitsDivisor)),
        });
      },
    };
  },
};
