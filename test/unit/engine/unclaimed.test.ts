import { expect, test } from "vitest";
import { describe } from "../../../cli/description.ts";
import { loadModel } from "../../../src/engine/load.ts";
import { openRepository } from "../../../src/engine/repository.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { computedMixtral, TINY } from "../../support/computed_mixtral.ts";
import { type ComputedTensor, computedSource } from "../../support/computed_source.ts";
import { norms } from "../../support/synthetic_model.ts";

const { config, tensors } = computedMixtral({
  ...TINY,
  width: 16,
  hidden: 24,
  layers: 2,
  experts: 3,
  top: 1,
  window: null,
});

/** The model's folder with more tensors in it than the model has parts. */
const folder = (names: readonly string[], more: object = {}) => {
  const extra = names.map((name, stream): ComputedTensor => {
    return { name, dtype: "F32", shape: [4], stream: { seed: 1, stream }, mask: norms("f32") };
  });
  return computedSource({ ...config, ...more }, [...tensors, ...extra]);
};

const HARMLESS = [
  "vision_tower.encoder.layers.0.self_attn.q_proj.weight",
  "model.visual.blocks.0.attn.qkv.bias",
  "multi_modal_projector.linear_1.weight",
  "model.audio_tower.layers.0.norm.weight",
  "model.layers.0.self_attn.rotary_emb.inv_freq",
  "model.rotary_emb.inv_freq",
  "model.image_newline",
  "mtp.layers.0.mlp.gate.weight",
  "model.mtp_block.0.input_layernorm.weight",
  "model.layers.2.self_attn.q_proj.bias",
];

test("what cannot change the answers is passed over, and inspect names it by kind", async () => {
  const source = folder(HARMLESS);
  const { pool } = await loadModel(cpuSpeaker(), source, null, { quantize: false, contextLength: 16 });
  expect(pool).not.toBeNull();
  const described = { ...(await openRepository(source, null, "")), source };
  const facts = [...describe(described, { recipe: "none", budgetBytes: 1e6 })];
  const said = facts.filter(([name]) => name === "passed over").map(([, value]) => value);
  expect(said).toEqual([
    "vision and audio: 5 tensors of 80 B, vision_tower.encoder.layers.0.self_attn.q_proj.weight for example",
    "rotary caches: 2 tensors of 32 B, model.layers.0.self_attn.rotary_emb.inv_freq for example",
    "multi-token prediction: 2 tensors of 32 B, mtp.layers.0.mlp.gate.weight for example",
    "layers past the last: 1 tensors of 16 B, model.layers.2.self_attn.q_proj.bias for example",
  ]);
});

test("a head that config.json ties to the embedding is passed over", async () => {
  const source = folder([], { tie_word_embeddings: true });
  const described = { ...(await openRepository(source, null, "")), source };
  const facts = [...describe(described, { recipe: "none", budgetBytes: 1e6 })];
  expect(facts.find(([name]) => name === "passed over")?.[1]).toContain("a head that config.json ties");
});

test.each([
  "model.layers.0.self_attn.q_proj.bias",
  "model.layers.1.self_attn.q_norm.weight",
  "model.layers.1.block_sparse_moe.gate.e_score_correction_bias",
  "model.layers.1.pre_feedforward_layernorm.weight",
  "lm_head.bias",
  "model.norm.bias",
  "something.else",
])("%s would change the answers, and is refused by name", async (name) => {
  const loading = loadModel(cpuSpeaker(), folder([...HARMLESS, name]), null, { quantize: false, contextLength: 16 });
  await expect(loading).rejects.toMatchObject({ code: "unsupported-model", message: expect.stringContaining(name) });
});

test("of many strange tensors some are named", async () => {
  const names = Array.from({ length: 6 }, (_, index) => `strange.${index}`);
  const loading = loadModel(cpuSpeaker(), folder(names), null, { quantize: false, contextLength: 16 });
  await expect(loading).rejects.toThrow("strange.0, strange.1, strange.2, strange.3 and 2 more");
});
