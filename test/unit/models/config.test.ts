import { expect, test } from "vitest";
import { buildOnPaper, weightKey } from "../../../src/layers/blueprint.ts";
import { inverseFrequencies } from "../../../src/layers/rope_table.ts";
import { readModel } from "../../../src/models/index.ts";

const mixtral = {
  model_type: "mixtral",
  vocab_size: 100,
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_local_experts: 4,
  num_experts_per_tok: 2,
};
const of = (model_type: string, more: object = {}) => ({ ...mixtral, model_type, ...more });
const mistral = of("mistral");
const olmoe = of("olmoe");
const qwen = of("qwen3_moe", { moe_intermediate_size: 32, num_key_value_heads: 4 });
const llama = of("llama");
const qwen2 = of("qwen2");
const qwen3 = of("qwen3");
const gemma3 = of("gemma3_text");
const qwen2Moe = of("qwen2_moe", { moe_intermediate_size: 32, shared_expert_intermediate_size: 48 });
const granite = of("granitemoe");
const gptOss = of("gpt_oss", { head_dim: 16 });
const phi = of("phimoe");
const lfm2 = of("lfm2_moe", { moe_intermediate_size: 32, layer_types: ["conv", "full_attention"] });
const ernie = of("ernie4_5_moe", { moe_intermediate_size: 32, moe_num_experts: 4, moe_k: 2 });
const ALL = [mixtral, mistral, qwen, olmoe, llama, qwen2, qwen3, gemma3, qwen2Moe, granite, gptOss, phi, lfm2, ernie];

const code = (config: unknown): string => {
  try {
    readModel(config);
    return "accepted";
  } catch (error) {
    return (error as { code: string }).code;
  }
};

/** What a model declares, where its files have all that is asked for but these. */
const paper = (config: object, absent: readonly string[] = []) =>
  buildOnPaper(readModel(config).build, (module) => !absent.includes(module));
const keys = (config: object, absent?: readonly string[]) => paper(config, absent).weights.map(weightKey);
const windows = (config: object) => paper(config).caches.map(({ window }) => window);

/** The eps that a model's norms are said with. */
function epsOf(config: object): number[] {
  const said = new Set<number>();
  const nothing = {} as never;
  const say = readModel(config).build({
    has: () => true,
    weight: () => nothing,
    cache: () => nothing,
    rope: () => nothing,
    history: () => nothing,
    experts: () => ({ top: 1 }) as never,
  });
  const ops = new Proxy({}, { get: (_, verb) => (verb === "ahead" ? 0 : (...args: unknown[]) => note(verb, args)) });
  const note = (verb: string | symbol, args: readonly unknown[]) => {
    if (verb === "rmsNorm") said.add(args[2] as number);
    if (verb === "layerNorm") said.add(args[3] as number);
    return nothing;
  };
  say(ops as never);
  return [...said];
}

test.each([
  // As transformers has them where config.json is silent: θ, eps, key/value heads of 8 heads, windows.
  [mixtral, 1e6, 1e-5, 8, null],
  [mistral, 1e4, 1e-6, 8, 4096],
  [qwen, 1e4, 1e-6, 4, null],
  [olmoe, 1e4, 1e-5, 8, null],
  [llama, 1e4, 1e-6, 8, null],
  [qwen2, 1e4, 1e-6, 32, null],
  [qwen3, 1e4, 1e-6, 32, null],
  [qwen2Moe, 1e4, 1e-6, 16, null],
  [granite, 1e4, 1e-6, 8, null],
  [phi, 1e6, 1e-5, 8, null],
  [ernie, 5e5, 1e-5, 4, null],
] as const)("defaults are each architecture's own: $0.model_type", (config, base, eps, keyValueHeads, window) => {
  const heads = Math.max(8, keyValueHeads);
  const { num_key_value_heads: _, ...rest } = { ...config, num_attention_heads: heads, hidden_size: heads * 8 };
  const silent = { ...rest, head_dim: 8 };
  expect(paper(silent).ropes[0]).toMatchObject({ frequencies: inverseFrequencies(base, 8), scale: 1 });
  expect(epsOf(silent)).toEqual([eps]);
  expect(epsOf({ ...silent, rms_norm_eps: 3e-4 })).toEqual([3e-4]);
  expect(paper(silent).caches.map(({ width }) => width)).toEqual([keyValueHeads * 8, keyValueHeads * 8]);
  expect(windows(silent)).toEqual([window, window]);
  // null is not silence: a key and a value for each query head.
  expect(paper({ ...silent, num_key_value_heads: null }).caches[0]).toMatchObject({ width: heads * 8 });
});

test("lengths that are each architecture's own, where config.json is silent", () => {
  for (const [config, positions] of [
    [mixtral, 131072],
    [mistral, 131072],
    [qwen, 32768],
    [olmoe, 4096],
    [llama, 2048],
    [qwen2, 32768],
    [qwen3, 32768],
    [qwen2Moe, 32768],
    [granite, 2048],
    [gptOss, 131072],
    [phi, 131072],
    [lfm2, 128000],
    [ernie, 131072],
    [gemma3, 131072],
  ] as const)
    expect(readModel(config).positions, config.model_type).toBe(positions);
});

test("head_dim may be null", () => {
  expect(paper({ ...mixtral, head_dim: null }).caches[0]).toEqual({ window: null, width: 2 * 16 });
  expect(paper({ ...mixtral, head_dim: 32, sliding_window: 8 }).caches[1]).toEqual({ window: 8, width: 64 });
});

test("no window: null, 0, or one that is not used", () => {
  for (const config of [mixtral, mistral]) {
    expect(windows({ ...config, sliding_window: 24 })).toEqual([24, 24]);
    for (const none of [{ sliding_window: null }, { sliding_window: 0 }])
      expect(windows({ ...config, ...none })).toEqual([null, null]);
    expect(windows({ ...config, sliding_window: 24, use_sliding_window: false })).toEqual([null, null]);
  }
  // Qwen's windows are off unless they are said to be used.
  expect(windows({ ...qwen, sliding_window: 24 })).toEqual([null, null]);
  expect(windows({ ...qwen, sliding_window: 24, use_sliding_window: true })).toEqual([24, 24]);
});

test("the head is tied where config.json says so, or says nothing and the files have none", () => {
  const head = (config: object, absent?: readonly string[]) =>
    keys({ ...mixtral, ...config }, absent).includes("lm_head");
  expect(head({ tie_word_embeddings: true })).toBe(false);
  expect(head({ tie_word_embeddings: false }, ["lm_head"]), "to be missed when it is loaded").toBe(true);
  for (const silent of [{}, { tie_word_embeddings: null }]) {
    expect(head(silent)).toBe(true);
    expect(head(silent, ["lm_head"])).toBe(false);
  }
});

test("heads that are tied where config.json is silent, whatever the files have", () => {
  for (const config of [gemma3, lfm2, ernie]) {
    expect(keys(config)).not.toContain("lm_head");
    expect(keys({ ...config, tie_word_embeddings: false })).toContain("lm_head");
  }
  expect(keys({ ...lfm2, tie_embedding: false })).toContain("lm_head");
});

test("experts are counted under either name", () => {
  const { num_local_experts: _, ...unnamed } = mixtral;
  for (const config of [
    { ...unnamed, num_experts: 6 },
    { ...unnamed, num_local_experts: 6 },
    { ...mixtral, num_local_experts: null, num_experts: 6 },
  ])
    expect(paper(config).experts.map(({ experts }) => experts)).toEqual([6, 6]);
});

test("any top-k from 1 to E is taken, more is not", () => {
  for (const top of [1, 3, 4])
    expect(paper({ ...mixtral, num_experts_per_tok: top }).experts[0]).toMatchObject({ top });
  expect(code({ ...mixtral, num_experts_per_tok: 5 })).toBe("bad-config");
});

test("dense layers among sparse ones", () => {
  const dense = (config: object) =>
    keys({ ...qwen, num_hidden_layers: 4, ...config }).filter((key) => key.endsWith("mlp.gate_proj"));
  expect(dense({})).toEqual([]);
  expect(dense({ mlp_only_layers: [2] })).toEqual(["model.layers.2.mlp.gate_proj"]);
  expect(dense({ decoder_sparse_step: 2 })).toEqual(["model.layers.0.mlp.gate_proj", "model.layers.2.mlp.gate_proj"]);
  expect(code({ ...qwen, mlp_only_layers: "2" })).toBe("bad-config");
});

test("an unknown model_type is refused, and the known ones are named", () => {
  expect(code({ ...mixtral, model_type: "mamba" })).toBe("unsupported-model");
  expect(() => readModel({ model_type: "mamba" })).toThrow("mixtral, mistral");
  expect(code({ model_type: "mllama", text_config: { ...mixtral, model_type: "mamba" } })).toBe("unsupported-model");
  expect(code({})).toBe("unsupported-model");
});

test("a config that cannot be run is refused before anything is loaded", () => {
  for (const wrong of [
    { hidden_size: "64" },
    { hidden_size: -1 },
    { hidden_size: 1e12 },
    { num_hidden_layers: undefined },
    { num_key_value_heads: 3 },
    { head_dim: 14 },
    { head_dim: 520 },
    { hidden_act: "gelu" },
    { rope_scaling: { rope_type: "proportional" } },
    { rope_theta: 0 },
    { rms_norm_eps: 0 },
    { tie_word_embeddings: "yes" },
    { sliding_window: -1 },
    { sliding_window: "all" },
    { use_sliding_window: 1 },
  ])
    expect(code({ ...mixtral, ...wrong }), JSON.stringify(wrong)).toBe("bad-config");
  for (const [config, wrong] of [
    [olmoe, { clip_qkv: 8 }],
    [gemma3, { hidden_activation: "gelu" }],
    [gemma3, { attn_logit_softcapping: 50 }],
    [gemma3, { use_bidirectional_attention: true }],
    [gemma3, { layer_types: ["sliding_attention", "chunked_attention"] }],
    [gemma3, { layer_types: ["sliding_attention"] }],
    [qwen2, { layer_types: "full_attention" }],
    [phi, { num_experts_per_tok: 1 }],
    [lfm2, { layer_types: null }],
    [lfm2, { conv_bias: true }],
    [ernie, { moe_norm_min: 0.1 }],
    [ernie, { moe_k: 5 }],
    [gptOss, { hidden_act: "gelu" }],
  ] as const)
    expect(code({ ...config, ...wrong }), JSON.stringify(wrong)).toBe("bad-config");
  expect(code("mixtral")).toBe("bad-config");
  expect(code(null)).toBe("bad-config");
});

/** Names without the layer they are of: `self_attn.q_proj.bias`. */
const parts = (config: object, absent?: readonly string[]) =>
  new Set(keys(config, absent).map((key) => key.replace(/^model\.layers\.\d+\./, "")));

test("biases are there where an architecture has them, or where config.json says so", () => {
  const biases = (config: object) => [...parts(config)].filter((name) => name.endsWith("bias")).sort();
  const attention = (...letters: string[]) => letters.map((letter) => `self_attn.${letter}_proj.bias`).sort();
  for (const config of [qwen2, qwen2Moe]) expect(biases(config)).toEqual(attention("q", "k", "v"));
  expect(biases({ ...qwen2Moe, qkv_bias: false })).toEqual([]);
  for (const config of [mixtral, mistral, llama, qwen3, qwen, granite, gemma3, olmoe])
    expect(biases(config)).toEqual([]);
  for (const config of [llama, qwen3, qwen, olmoe, granite, gemma3])
    expect(biases({ ...config, attention_bias: true })).toEqual(attention("q", "k", "v", "o"));
  expect(biases({ ...llama, mlp_bias: true })).toEqual([
    "mlp.down_proj.bias",
    "mlp.gate_proj.bias",
    "mlp.up_proj.bias",
  ]);
  expect(biases(phi)).toEqual(["input_layernorm.bias", "model.norm.bias", "post_attention_layernorm.bias"]);
  expect(biases({ ...phi, lm_head_bias: true })).toContain("lm_head.bias");
  expect(biases({ ...phi, attention_bias: true })).toEqual(expect.arrayContaining(attention("q", "k", "v", "o")));
  expect(biases(gptOss)).toEqual([...attention("q", "k", "v", "o"), "mlp.router.bias"].sort());
  expect(biases({ ...gptOss, attention_bias: false })).toEqual(["mlp.router.bias"]);
});

test("layers with a window among layers without: by layer_types, else by each architecture's own rule", () => {
  const four = { num_hidden_layers: 4, sliding_window: 24 };
  const used = { ...four, use_sliding_window: true, max_window_layers: 2 };
  for (const config of [qwen2, qwen3]) {
    expect(windows({ ...config, ...four })).toEqual([null, null, null, null]);
    expect(windows({ ...config, ...used })).toEqual([null, null, 24, 24]);
    expect(windows({ ...config, ...used, max_window_layers: 0 })).toEqual([24, 24, 24, 24]);
    expect(windows({ ...config, ...used, max_window_layers: undefined })).toEqual([null, null, null, null]);
  }
  expect(windows({ ...qwen2Moe, ...used })).toEqual([24, null, null, null]);
  expect(windows({ ...gptOss, ...four })).toEqual([24, null, 24, null]);
  expect(windows({ ...gptOss, num_hidden_layers: 2 })).toEqual([128, null]);
  expect(windows({ ...gemma3, ...four, sliding_window_pattern: 3 })).toEqual([24, 24, null, 24]);
  expect(windows({ ...gemma3, ...four, _sliding_window_pattern: 2 })).toEqual([24, null, 24, null]);
  expect(windows({ ...gemma3, num_hidden_layers: 6 })).toEqual([4096, 4096, 4096, 4096, 4096, null]);
  const types = ["full_attention", "sliding_attention", "sliding_attention", "full_attention", "full_attention"];
  for (const config of [qwen2, qwen3, qwen2Moe, gptOss, gemma3])
    expect(windows({ ...config, ...used, layer_types: types }), config.model_type).toEqual([null, 24, 24, null]);
});

test("layers of a kind: convolutions, dense and sparse feed-forward", () => {
  const kinds = (config: object) => {
    const { weights, caches, experts } = paper({ ...config, num_hidden_layers: 4 });
    const layersOf = (part: string) =>
      weights.map(weightKey).flatMap((key) => (key.endsWith(part) ? [Number(/layers\.(\d+)/.exec(key)![1])] : []));
    return {
      attending: caches.length,
      sparse: experts.length,
      convolved: layersOf("conv.conv"),
      dense: [...layersOf("feed_forward.w1"), ...layersOf("mlp.gate_proj")],
    };
  };
  const types = ["conv", "full_attention", "conv", "conv"];
  expect(kinds({ ...lfm2, layer_types: types })).toEqual({
    attending: 1,
    sparse: 2,
    convolved: [0, 2, 3],
    dense: [0, 1],
  });
  expect(kinds({ ...lfm2, layer_types: types, num_dense_layers: 0 }).sparse).toBe(4);
  expect(kinds(ernie)).toMatchObject({ sparse: 3, dense: [0] });
  expect(kinds({ ...ernie, moe_layer_start_index: 0 }).dense).toEqual([]);
  expect(kinds({ ...ernie, moe_layer_end_index: 2 }).dense).toEqual([0, 3]);
  expect(kinds({ ...ernie, moe_layer_end_index: -1 }).dense).toEqual([0]);
  expect(kinds({ ...ernie, moe_layer_interval: 2 }).dense).toEqual([0, 2]);
  for (const config of [qwen, qwen2Moe]) {
    expect(kinds(config).dense).toEqual([]);
    expect(kinds({ ...config, mlp_only_layers: [2], decoder_sparse_step: 2 })).toMatchObject({
      sparse: 2,
      dense: [0, 2],
    });
  }
});

test("what serves every token, and what the router's choice adds, is there where config.json says so", () => {
  expect(parts(ernie)).toContain("mlp.shared_experts.up_proj");
  expect([...parts({ ...ernie, moe_num_shared_experts: 0 })].filter((name) => name.includes("shared"))).toEqual([]);
  expect(parts(qwen2Moe)).toContain("mlp.shared_expert_gate");
  const choice = "mlp.moe_statics.e_score_correction_bias";
  expect(parts(ernie)).toContain(choice);
  expect(parts(ernie, [`model.layers.1.${choice}`]), "MLX drops it").not.toContain(choice);
  const sparse = { ...lfm2, num_dense_layers: 0 };
  expect(parts(sparse)).toContain("feed_forward.expert_bias");
  expect(parts({ ...sparse, use_expert_bias: false })).not.toContain("feed_forward.expert_bias");
  const bias = (config: object) => [...parts(config)].filter((name) => name.endsWith("bias")).length;
  expect(bias({ ...ernie, use_bias: true })).toBe(4 + 3 + 3 + 2);
});

test("of a model of text and images the part for text is read", () => {
  const { model_type: _, ...text } = gemma3;
  const whole = (text_config: object, more: object = {}) => ({
    model_type: "gemma3",
    vision_config: {},
    text_config,
    ...more,
  });
  for (const config of [whole(gemma3), whole(text)]) {
    expect(readModel(config)).toMatchObject({ modelType: "gemma3_text", width: 64, vocabulary: 100 });
    expect(keys(config)).toEqual(keys(gemma3));
  }
  // What the part leaves out may stand beside it, or be as published for Gemma.
  const { vocab_size, num_attention_heads: H, num_key_value_heads: K, ...small } = gemma3;
  expect(readModel(whole(small, { vocab_size })).vocabulary).toBe(100);
  expect(readModel(whole(small)).vocabulary).toBe(262208);
  expect(paper(whole(small)).caches[0]!.width).toBe(4 * 256);
});

test("Gemma's two ropes, in both forms", () => {
  const at = (base: number, factor = 1) => inverseFrequencies(base, 16).map((f) => f / factor);
  const ropes = (more: object) =>
    paper({ ...gemma3, head_dim: 16, ...more }).ropes.map(({ frequencies }) => frequencies);
  const linear = { rope_type: "linear", factor: 8 };
  expect(ropes({})).toEqual([at(1e6), at(1e4)]);
  expect(ropes({ rope_theta: 5e5, rope_local_base_freq: 2e4, rope_scaling: linear })).toEqual([at(5e5, 8), at(2e4)]);
  expect(
    ropes({
      rope_parameters: {
        full_attention: { ...linear, rope_theta: 5e5 },
        sliding_attention: { rope_type: "default", rope_theta: 2e4 },
      },
    }),
  ).toEqual([at(5e5, 8), at(2e4)]);
  expect(ropes({ rope_parameters: { full_attention: linear } })).toEqual([at(1e6, 8), at(1e4)]);
});

test("a rope that ends early shortens contexts, and says why", () => {
  const rope_scaling = { type: "longrope", short_factor: Array(8).fill(1), original_max_position_embeddings: 128 };
  const model = readModel({ ...phi, rope_scaling, max_position_embeddings: 1024 });
  expect(model.positions).toBe(128);
  expect(model.limit).toContain("1024");
  expect(readModel(phi).limit).toBeUndefined();
});

test("gpt_oss has YaRN where its config.json has no rope", () => {
  const [rope] = paper(gptOss).ropes;
  expect(rope!.scale).toBeCloseTo(0.1 * Math.log(32) + 1, 6);
  expect(paper({ ...gptOss, rope_parameters: { rope_type: "default" } }).ropes[0]!.scale).toBe(1);
});

test("every architecture is built of parts with names of its own, for heads of up to 512", () => {
  for (const config of ALL) {
    const wide = { ...config, head_dim: 512, num_attention_heads: 2, num_key_value_heads: 1 };
    expect(
      paper(wide).caches.every(({ width }) => width === 512),
      config.model_type,
    ).toBe(true);
  }
});
