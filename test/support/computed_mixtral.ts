import { assert } from "../../src/base/assert.ts";
import { type Affine, ALIGNMENT_BYTES, type Float, type Plain } from "../../src/base/matrix.ts";
import { type ComputedTensor, type Slice, wordCount } from "./computed_source.ts";
import { type Geometry, type Mask, norms, numbersOf, RAW } from "./synthetic_model.ts";

/** All in which one Mixtral differs from another. */
/** How its matrices may be stored. */
type Stored = Plain | Affine;

export interface MixtralShape extends Geometry {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headWidth: number;
  readonly vocabulary: number;
  readonly window: number | null;
  /** How matrices are stored. w1, w2 and w3 of the experts may differ. */
  readonly encodings: Readonly<Record<"embedding" | "attention" | "router" | "w1" | "w2" | "w3" | "head", Stored>>;
  readonly norms: Float;
  /**
   * Whether a layer's experts are published as a stack, as MLX does, or one by one, as Mistral
   * does.
   */
  readonly stacked: boolean;
}

/** A Mixtral whose weights are computed when they are asked for. */
export interface ComputedMixtral {
  readonly config: object;
  readonly tensors: readonly ComputedTensor[];
  /**
   * The slices of tensors that make up an expert's record, in its order. They follow from names and
   * sizes alone.
   */
  record(layer: number, expert: number): readonly Slice[];
}

/** The same encoding for every matrix. */
export const everywhere = (encoding: Stored): MixtralShape["encodings"] => ({
  embedding: encoding,
  attention: encoding,
  router: encoding,
  w1: encoding,
  w2: encoding,
  w3: encoding,
  head: encoding,
});

/** The smallest decoder that may stand around any experts, in f32. */
export const TINY = {
  heads: 2,
  keyValueHeads: 1,
  headWidth: 8,
  vocabulary: 37,
  window: null,
  encodings: everywhere({ kind: "plain", dtype: "f32" }),
  norms: "f32",
  stacked: false,
} as const satisfies Omit<MixtralShape, keyof Geometry>;

const SEED = 20261124;
const DTYPES = { f32: "F32", f16: "F16", bf16: "BF16" } as const satisfies Record<Float, string>;
const STACKS = { w1: "gate_proj", w2: "down_proj", w3: "up_proj" } as const;

/** config.json and the tensors of a Mixtral of any shape, under their published names. */
export function computedMixtral(shape: MixtralShape): ComputedMixtral {
  const { layers, experts, top, width, hidden, heads, keyValueHeads, headWidth, vocabulary, encodings } = shape;
  const tensors: ComputedTensor[] = [];
  const modules: { readonly module: string; readonly encoding: Stored }[] = [];
  const add = (name: string, dtype: ComputedTensor["dtype"], dimensions: readonly number[], mask: Mask) => {
    tensors.push({ name, dtype, shape: dimensions, stream: { seed: SEED, stream: tensors.length }, mask });
  };
  const norm = (module: string) => add(`${module}.weight`, DTYPES[shape.norms], [width], norms(shape.norms));
  /**
   * Adds a matrix [rows, columns], or a stack of them. Its products are about as large as the
   * vectors it is multiplied with.
   */
  const matrix = (module: string, encoding: Stored, dimensions: readonly number[], size?: number) => {
    const [columns, front] = [dimensions.at(-1)!, dimensions.slice(0, -1)];
    const about = size ?? 1 / Math.sqrt(columns);
    modules.push({ module, encoding });
    if (encoding.kind === "plain") {
      const { dtype } = encoding;
      add(`${module}.weight`, DTYPES[dtype], dimensions, numbersOf(dtype, about));
      return;
    }
    const { bits, group, scales } = encoding;
    const groups = [...front, columns / group];
    add(`${module}.weight`, "U32", [...front, (columns * bits) / 32], RAW);
    add(`${module}.scales`, DTYPES[scales], groups, numbersOf(scales, (2 * about) / 2 ** bits));
    add(`${module}.biases`, DTYPES[scales], groups, numbersOf(scales, about));
  };

  const moe = (layer: number) => `model.layers.${layer}.block_sparse_moe`;
  const expertModule = (layer: number, expert: number, part: "w1" | "w2" | "w3") =>
    shape.stacked ? `${moe(layer)}.switch_mlp.${STACKS[part]}` : `${moe(layer)}.experts.${expert}.${part}`;

  matrix("model.embed_tokens", encodings.embedding, [vocabulary, width], 4);
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}`;
    norm(`${prefix}.input_layernorm`);
    matrix(`${prefix}.self_attn.q_proj`, encodings.attention, [heads * headWidth, width]);
    matrix(`${prefix}.self_attn.k_proj`, encodings.attention, [keyValueHeads * headWidth, width]);
    matrix(`${prefix}.self_attn.v_proj`, encodings.attention, [keyValueHeads * headWidth, width]);
    matrix(`${prefix}.self_attn.o_proj`, encodings.attention, [width, heads * headWidth]);
    norm(`${prefix}.post_attention_layernorm`);
    matrix(`${moe(layer)}.gate`, encodings.router, [experts, width]);
    const stack = shape.stacked ? [experts] : [];
    for (let expert = 0; expert < (shape.stacked ? 1 : experts); expert++) {
      matrix(expertModule(layer, expert, "w1"), encodings.w1, [...stack, hidden, width]);
      matrix(expertModule(layer, expert, "w2"), encodings.w2, [...stack, width, hidden]);
      matrix(expertModule(layer, expert, "w3"), encodings.w3, [...stack, hidden, width]);
    }
  }
  norm("model.norm");
  matrix("lm_head", encodings.head, [vocabulary, width]);

  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return {
    config: {
      model_type: "mixtral",
      hidden_size: width,
      intermediate_size: hidden,
      num_hidden_layers: layers,
      num_local_experts: experts,
      num_experts_per_tok: top,
      num_attention_heads: heads,
      num_key_value_heads: keyValueHeads,
      head_dim: headWidth,
      vocab_size: vocabulary,
      max_position_embeddings: 32768,
      sliding_window: shape.window,
      rms_norm_eps: 1e-5,
      rope_theta: 1e4,
      tie_word_embeddings: false,
      ...quantizationOf(modules),
    },
    tensors,
    record: (layer, expert) =>
      (["w1", "w3", "w2"] as const).flatMap((part) =>
        ["weight", "scales", "biases"].flatMap((suffix): Slice[] => {
          const tensor = byName.get(`${expertModule(layer, expert, part)}.${suffix}`);
          if (!tensor) return [];
          const count = wordCount(tensor) / (shape.stacked ? experts : 1);
          assert((4 * count) % ALIGNMENT_BYTES === 0, "no padding follows it in the record");
          return [{ tensor, first: shape.stacked ? expert * count : 0, count }];
        }),
      ),
  };
}

/**
 * What MLX's config.json says about quantised modules: the claim of the first quantised one stands
 * for all, and each module that differs has its own claim under its path.
 */
function quantizationOf(modules: readonly { readonly module: string; readonly encoding: Stored }[]): object {
  const claim = ({ encoding }: (typeof modules)[number]) =>
    encoding.kind === "plain" ? false : { group_size: encoding.group, bits: encoding.bits };
  const general = modules.map(claim).find((first) => first !== false);
  if (!general) return {};
  const others = modules.filter((module) => JSON.stringify(claim(module)) !== JSON.stringify(general));
  return { quantization: { ...general, ...Object.fromEntries(others.map((other) => [other.module, claim(other)])) } };
}
