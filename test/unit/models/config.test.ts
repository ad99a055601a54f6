import { expect, test } from "vitest";
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
const code = (config: unknown): string => {
  try {
    readModel(config);
    return "accepted";
  } catch (error) {
    return (error as { code: string }).code;
  }
};

test("rope's base is read in both spellings", () => {
  const base = (config: object) => readModel({ ...mixtral, ...config }).inverseFrequencies[1];
  expect(base({ rope_theta: 1e4 })).toBe(base({ rope_parameters: { rope_type: "default", rope_theta: 1e4 } }));
  expect(base({ rope_theta: 1e4 })).not.toBe(base({ rope_theta: 1e6 }));
  expect(base({})).toBe(base({ rope_theta: 1e6 }));
});

test("head_dim and sliding_window may be null", () => {
  const spec = readModel({ ...mixtral, head_dim: null, sliding_window: null });
  expect(spec.window).toBe(null);
  expect(spec.cacheWidth).toBe(2 * 16);
  expect(readModel({ ...mixtral, head_dim: 32, sliding_window: 8 })).toMatchObject({ window: 8, cacheWidth: 64 });
});

test("tied embeddings need no head", () => {
  expect(readModel({ ...mixtral, tie_word_embeddings: true }).weights.head).toBe(undefined);
  expect(readModel(mixtral).weights.head).toMatchObject({ rows: 100, columns: 64 });
});

test("any top-k from 1 to E is taken, more is not", () => {
  for (const top of [1, 3, 4]) expect(readModel({ ...mixtral, num_experts_per_tok: top }).experts?.top).toBe(top);
  expect(code({ ...mixtral, num_experts_per_tok: 5 })).toBe("bad-config");
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
    { tie_word_embeddings: "yes" },
  ])
    expect(code({ ...mixtral, ...wrong }), JSON.stringify(wrong)).toBe("bad-config");
  expect(code("mixtral")).toBe("bad-config");
  expect(code(null)).toBe("bad-config");
});
