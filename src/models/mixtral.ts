import { mixture } from "../layers/feed_forward.ts";
import { type Architecture, type ExpertsSpec, moeLayer, type PublishedName } from "./architecture.ts";
import { bad } from "./config.ts";
import { model, readBackbone } from "./mistral.ts";

/** Mixtral of experts (Jiang et al. 2024): Mistral with a sparse mixture of SwiGLU experts in every layer. */
export const mixtral: Architecture = {
  modelType: "mixtral",
  read(config) {
    const backbone = readBackbone(config, 1e6);
    const count = config.count("num_local_experts", "experts", 8);
    const top = config.count("num_experts_per_tok", "experts", 2);
    if (top > count) throw bad(`${top} experts per token are more than the ${count} there are`);
    const experts: ExpertsSpec = {
      layers: backbone.layers,
      experts: count,
      top,
      renormalise: true,
      hidden: config.count("intermediate_size", "width"),
      names: (layer, expert, part) => expertNames(layer, expert, part, config.count("intermediate_size", "width")),
    };
    return model("mixtral", backbone, {
      experts,
      weights: (l) => ({
        [`${l}.router`]: {
          names: [{ module: `model.layers.${l}.block_sparse_moe.gate` }, { module: `model.layers.${l}.mlp.gate` }],
          rows: count,
          columns: backbone.width,
          role: "router",
        },
      }),
      feedForward: (loaded, l) => mixture(loaded.weight(`${l}.router`), moeLayer(experts, loaded, l)),
    });
  },
};

/** As published (and MLX's older files), as MLX stacks them, as transformers 5 fuses them (gate rows first). */
function expertNames(layer: number, expert: number, part: "w1" | "w2" | "w3", hidden: number): PublishedName[] {
  const published = `model.layers.${layer}.block_sparse_moe`;
  const fused = `model.layers.${layer}.mlp.experts`;
  const stacked = { w1: "gate_proj", w2: "down_proj", w3: "up_proj" }[part];
  return [
    { module: `${published}.experts.${expert}.${part}` },
    { module: `${published}.switch_mlp.${stacked}`, stack: expert },
    part === "w2"
      ? { module: `${fused}.down_proj`, bare: true, stack: expert }
      : { module: `${fused}.gate_up_proj`, bare: true, stack: expert, firstRow: part === "w1" ? 0 : hidden },
  ];
}
