import { expect, test } from "vitest";
import type { Float } from "../../../src/base/matrix.ts";
import { loadModel } from "../../../src/engine/load.ts";
import { decodeFloats } from "../../../src/format/floats.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { openFiles } from "../../../src/source/open_model.ts";
import { readRange } from "../../../src/source/source.ts";
import { computedMixtral, everywhere, type MixtralShape, TINY } from "../../support/computed_mixtral.ts";
import { computedSource, wordsOfSlices } from "../../support/computed_source.ts";
import { STACK } from "../../support/stack.ts";
import { MIXTRAL_8X7B, Q4 } from "../../support/synthetic_model.ts";

const FILE = "model.safetensors";
const TOY: MixtralShape = { ...TINY, layers: 2, experts: 5, top: 2, width: 16, hidden: 24 };

test.each<{ name: string; shape: MixtralShape }>([
  { name: "f32, each by itself", shape: TOY },
  { name: "bf16, stacked", shape: { ...TOY, encodings: everywhere({ kind: "plain", dtype: "bf16" }), stacked: true } },
  { name: "4 and 8 bits, stacked", shape: STACK },
  { name: "4 and 8 bits, each by itself", shape: { ...STACK, stacked: false } },
])("a record is the published bytes of its expert: $name", async ({ shape }) => {
  const { config, tensors, record } = computedMixtral(shape);
  const source = computedSource(config, tensors);
  const { library } = await loadModel(cpuSpeaker(), source, null, { quantize: false, slots: 2, contextLength: 8 });
  const seen = new Set<string>();
  for (let layer = 0; layer < shape.layers; layer++)
    for (let expert = 0; expert < shape.experts; expert++) {
      const read: Uint8Array[] = [];
      await library!.read(layer, expert, (_offset, bytes) => read.push(bytes));
      const published = new Uint8Array(wordsOfSlices(record(layer, expert)).buffer);
      expect(read, `expert ${expert} of layer ${layer}`).toEqual([published]);
      expect(published.length).toBe(library!.recordBytes);
      seen.add(published.join());
    }
  expect(seen.size, "no two are alike").toBe(shape.layers * shape.experts);
});

test("any bytes of a computed file are those that the whole file has there", async () => {
  const { config, tensors } = computedMixtral(STACK);
  const source = computedSource(config, tensors);
  const bytes = await source.size(FILE);
  const whole = await readRange(source, FILE, 0, bytes);
  const { shards } = await openFiles(source);
  const begins = [...shards.get(FILE)!.values()].map(({ begin }) => begin);
  expect(begins.length).toBe(tensors.length);
  for (const at of [0, 5, ...begins, bytes - 9])
    for (const [before, after] of [
      [0, 9],
      [3, 1],
      [1, 5000],
    ] as const) {
      const [begin, end] = [Math.max(0, at - before), Math.min(at + after, bytes)];
      expect(await readRange(source, FILE, begin, end), `bytes ${begin} to ${end}`).toEqual(whole.slice(begin, end));
    }
  await expect(readRange(source, FILE, bytes - 1, bytes + 1)).rejects.toMatchObject({ code: "no-range" });
  await expect(readRange(source, "other", 0, 1)).rejects.toMatchObject({ code: "not-found" });
});

test("weights are of the size that was asked for, of either sign; norms are about 1", async () => {
  for (const dtype of ["f32", "f16", "bf16"] as const satisfies readonly Float[]) {
    const shape = { ...TOY, encodings: everywhere({ kind: "plain", dtype }), norms: dtype };
    const { config, tensors } = computedMixtral(shape);
    const source = computedSource(config, tensors);
    const { shards } = await openFiles(source);
    const valuesOf = async (name: string) => {
      const { begin, end } = shards.get(FILE)!.get(name)!;
      return [...decodeFloats(dtype, await readRange(source, FILE, begin, end))];
    };
    // 1 / sqrt(16).
    const weights = await valuesOf("model.layers.1.block_sparse_moe.experts.4.w3.weight");
    expect(weights.every((value) => Math.abs(value) >= 0.25 && Math.abs(value) < 0.5)).toBe(true);
    const negative = weights.filter((value) => value < 0).length / weights.length;
    expect(Math.abs(negative - 0.5)).toBeLessThan(0.1);
    expect(new Set(weights.map(Math.abs)).size).toBeGreaterThan(90);
    const norm = await valuesOf("model.norm.weight");
    expect(norm.every((value) => value >= 1 && value < 1.25)).toBe(true);
    expect(new Set(norm).size).toBeGreaterThan(6);
  }
});

test("a computed file of 25 GB is read at its end, in pieces of at most a MiB", async () => {
  const shape = { ...TINY, ...MIXTRAL_8X7B, heads: 8, encodings: everywhere(Q4), stacked: true };
  const { config, tensors } = computedMixtral(shape);
  const source = computedSource(config, tensors);
  const bytes = await source.size(FILE);
  expect(bytes).toBeGreaterThan(25e9);
  const { shards } = await openFiles(source);
  const { begin, end } = shards.get(FILE)!.get("model.layers.31.block_sparse_moe.switch_mlp.up_proj.weight")!;
  const tensor = tensors.find(({ name }) => name.endsWith("31.block_sparse_moe.switch_mlp.up_proj.weight"))!;
  const words = wordsOfSlices([{ tensor, first: (end - begin) / 4 - 700_000, count: 700_000 }]);
  const pieces: number[] = [];
  let at = 0;
  for await (const piece of source.read(FILE, end - 2_800_000, end)) {
    pieces.push(piece.length);
    expect(Buffer.compare(piece, new Uint8Array(words.buffer, at, piece.length))).toBe(0);
    at += piece.length;
  }
  expect(at).toBe(2_800_000);
  expect(Math.max(...pieces)).toBeLessThanOrEqual(1024 * 1024);
});
