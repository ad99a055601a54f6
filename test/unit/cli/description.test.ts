import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { claimedCheckpoint } from "../../../cli/claimed_checkpoint.ts";
import { describe as describeModel } from "../../../cli/description.ts";
import { openRepository } from "../../../src/engine/repository.ts";
import type { Recipe } from "../../../src/format/recipe.ts";
import { directorySource } from "../../../src/source/directory.ts";
import { givenFiles } from "../../../src/source/given_files.ts";

const fixtures = join(import.meta.dirname, "../../fixtures");
const configOf = (name: string): unknown => JSON.parse(readFileSync(join(fixtures, `configs/${name}.json`), "utf8"));

/** What is said of a config.json alone. */
function facts(config: unknown, recipe: Recipe = "auto-1", budgetBytes = 4e9) {
  const described = { config, checkpoint: claimedCheckpoint(config), source: givenFiles({}) };
  return Object.fromEntries(describeModel(described, { recipe, budgetBytes }));
}

test("Mixtral-8x7B by its config.json: bytes of an expert at 4 bits, dense bytes by recipe, slots for a budget", () => {
  const config = configOf("mlc-preset-Mixtral-8x7B-v0.1");
  expect(facts(config)).toMatchObject({
    architecture: "mixtral",
    dense: "1.7 GB in 227 matrices",
    experts: "8 per layer, 2 per token, 4-bit, groups of 64, in 32 layers",
    records: "256 of at most 99.1 MB",
    "experts in all": "25.4 GB",
    "read per token": "6.3 GB of experts, 1.7 GB beside them",
    "smallest budget": "198.2 MB (2 slots)",
    budget: "4.0 GB: 40 slots, 16 % of the experts",
  });
  expect(facts(config, "mlx-1").dense).toBe("904.1 MB in 227 matrices");
  expect(facts(config, "none")).toMatchObject({ records: "256 of at most 352.3 MB" });
});

test("published configs of the other mixtures", () => {
  expect(facts(configOf("Qwen3-30B-A3B-derivative"))).toMatchObject({ records: "6144 of at most 2.7 MB" });
  expect(facts(configOf("OLMoE-1B-7B-0924"))).toMatchObject({ records: "1024 of at most 3.5 MB", window: "none" });
  expect(facts(configOf("granite-3.1-1b-a400m-instruct"))).toMatchObject({ "smallest budget": "7.1 MB (8 slots)" });
  expect(facts(configOf("mlc-preset-qwen2moe"))).toMatchObject({ "smallest budget": "19.5 MB (4 slots)" });
  expect(facts(configOf("gpt-oss-20b-derivative"))).toMatchObject({ window: "128 or none", layers: 24 });
  expect(facts(configOf("mlc-preset-smollm2_135m"))).toMatchObject({
    architecture: "llama",
    "read per token": "143.0 MB",
  });
});

test("why a model cannot run is named", () => {
  const code = (config: unknown, budgetBytes?: number) => {
    try {
      return facts(config, "auto-1", budgetBytes);
    } catch (error) {
      return (error as { code: string }).code;
    }
  };
  const mixtral = configOf("mlc-preset-Mixtral-8x7B-v0.1") as object;
  for (const other of ["mlc-preset-deepseek_v2_lite", "mlc-preset-minicpm-moe-8x2b", "mlc-preset-phi-3_5"])
    expect(code(configOf(other)), other).toBe("unsupported-model");
  expect(code(mixtral, 1e8)).toBe("budget-too-small");
  expect(code({ ...mixtral, torch_dtype: "float8_e4m3fn" })).toBe("unsupported-quantization");
  expect(code({ ...mixtral, quantization_config: { quant_method: "gptq", bits: 4 } })).toBe("unsupported-quantization");
  expect(code({ ...mixtral, quantization: { bits: 7, group_size: 64 } })).toBe("unsupported-quantization");
  expect(code({ ...mixtral, num_key_value_heads: 5 })).toBe("bad-config");
  expect(code([])).toBe("bad-config");
  expect(code(null)).toBe("bad-config");
});

test("a config that claims MLX's quantisation is taken at its word, and a 4-bit head is remarked on", () => {
  const quantization = { bits: 8, group_size: 64, lm_head: { bits: 4, group_size: 64 } };
  const said = facts({ ...(configOf("OLMoE-1B-7B-0924") as object), quantization });
  expect(said).toMatchObject({ experts: expect.stringContaining("8-bit"), head: expect.stringContaining("4-bit") });
  expect(said).not.toHaveProperty("embedding");
});

test("gpt-oss's config claims MXFP4 for experts, and floats for what it excepts", () => {
  const quantization_config = {
    quant_method: "mxfp4",
    modules_to_not_convert: ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"],
  };
  const config = { ...(configOf("gpt-oss-20b-derivative") as object), vocab_size: 201088, quantization_config };
  expect(facts(config)).toMatchObject({
    experts: "32 per layer, 4 per token, fp4, groups of 32, in 24 layers",
    records: "768 of at most 13.2 MB",
    dense: expect.stringContaining("1.9 GB"),
  });
});

test("a folder is described by its files, and a window by layer", async () => {
  const source = directorySource(join(fixtures, "mlx/mixtral_q4g64"));
  const described = { ...(await openRepository(source, null, "")), source };
  const said = Object.fromEntries(describeModel(described, { recipe: "auto-1", budgetBytes: 1e9 }));
  expect(said).toMatchObject({ records: "16 of at most 41.5 kB", budget: "1.0 GB: 16 slots, 100 % of the experts" });
});
