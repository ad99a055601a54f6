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
const mistral = { ...mixtral, model_type: "mistral" };
const olmoe = { ...mixtral, model_type: "olmoe" };
const qwen = { ...mixtral, model_type: "qwen3_moe", moe_intermediate_size: 32, num_key_value_heads: 4 };

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
    experts: () => ({ top: 1 }) as never,
  });
  const ops = new Proxy({}, { get: (_, verb) => (verb === "ahead" ? 0 : (...args: unknown[]) => note(verb, args)) });
  const note = (verb: string | symbol, args: readonly unknown[]) => {
    if (verb === "rmsNorm") said.add(args[2] as number);
    return nothing;
  };
  say(ops as never);
  return [...said];
}

test("rope's base is read in both spellings", () => {
  const theta = (config: object) => paper({ ...mixtral, ...config }).ropes[0];
  const at = (base: number) => inverseFrequencies(base, 16);
  expect(theta({ rope_theta: 1e4 })).toEqual(at(1e4));
  expect(theta({ rope_parameters: { rope_type: "default", rope_theta: 1e4 } })).toEqual(at(1e4));
});

test.each([
  // As transformers has them where config.json is silent: θ, eps, key/value heads of 8 heads, window.
  [mixtral, 1e6, 1e-5, 8, null],
  [mistral, 1e4, 1e-6, 8, 4096],
  [qwen, 1e4, 1e-6, 4, null],
  [olmoe, 1e4, 1e-5, 8, null],
] as const)("defaults are each architecture's own: $0.model_type", (config, base, eps, keyValueHeads, window) => {
  const { num_key_value_heads: _, ...silent } = { ...config, num_attention_heads: 8 };
  expect(paper(silent).ropes[0]).toEqual(inverseFrequencies(base, 8));
  expect(epsOf(silent)).toEqual([eps]);
  expect(epsOf({ ...silent, rms_norm_eps: 3e-4 })).toEqual([3e-4]);
  expect(paper(silent).caches.map(({ width }) => width)).toEqual([keyValueHeads * 8, keyValueHeads * 8]);
  expect(windows(silent)).toEqual([window, window]);
  // null is not silence: a key and a value for each query head.
  expect(paper({ ...silent, num_key_value_heads: null }).caches[0]).toMatchObject({ width: 64 });
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
  expect(code({ ...mixtral, model_type: "gpt_oss" })).toBe("unsupported-model");
  expect(() => readModel({ model_type: "gpt_oss" })).toThrow("mixtral, mistral");
  expect(code({})).toBe("unsupported-model");
});

test("a config that cannot be run is refused before anything is loaded", () => {
  for (const wrong of [
    { hidden_size: "64" },
    { hidden_size: -1 },
    { hidden_size: 1e12 },
    { num_hidden_layers: undefined },
    { num_key_value_heads: 3 },
    { head_dim: 12 },
    { head_dim: 512 },
    { hidden_act: "gelu" },
    { rope_scaling: { rope_type: "yarn", factor: 4 } },
    { rope_theta: 0 },
    { rms_norm_eps: 0 },
    { tie_word_embeddings: "yes" },
    { sliding_window: -1 },
    { sliding_window: "all" },
    { use_sliding_window: 1 },
  ])
    expect(code({ ...mixtral, ...wrong }), JSON.stringify(wrong)).toBe("bad-config");
  for (const config of [qwen, olmoe]) expect(code({ ...config, attention_bias: true })).toBe("bad-config");
  expect(code({ ...olmoe, clip_qkv: 8 })).toBe("bad-config");
  expect(code("mixtral")).toBe("bad-config");
  expect(code(null)).toBe("bad-config");
});
