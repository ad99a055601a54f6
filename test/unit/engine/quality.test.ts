import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { measure, type Opened, weigh } from "../../../cli/perplexity/measure.ts";
import type { Quantize } from "../../../src/engine/api.ts";
import { readLanguage } from "../../../src/engine/language.ts";
import { loadModel } from "../../../src/engine/load.ts";
import { Session } from "../../../src/engine/session.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { directorySource } from "../../../src/source/directory.ts";
import { ALL } from "../../support/all.ts";

const fixtures = join(import.meta.dirname, "../../fixtures");
const story = (folder = "hf") => directorySource(join(fixtures, "storyteller-moe", folder));

async function open(quantize: Quantize, folder?: string): Promise<Opened> {
  const speaker = cpuSpeaker();
  return { speaker, loaded: await loadModel(speaker, story(folder), null, { quantize, contextLength: 1100 }) };
}

test("by default the answers of the story model's conversations lose nothing that shows", async () => {
  const { chats } = JSON.parse((await story().text("golden.json"))!) as {
    chats: { prompt_ids: number[]; greedy_ids: number[] }[];
  };
  const texts = chats
    .filter(({ prompt_ids }) => prompt_ids.length < 64)
    .slice(0, ALL ? 7 : 4)
    .map(({ prompt_ids, greedy_ids }) => ({ ids: [...prompt_ids, ...greedy_ids], from: prompt_ids.length }));
  const { tokens, perplexity, reference, divergence } = await measure(await open("auto"), texts, await open(false));
  expect(tokens).toBeGreaterThan(ALL ? 700 : 60);
  expect(perplexity / reference).toBeLessThanOrEqual(1.01);
  expect(divergence).toBeLessThanOrEqual(0.005);
});

test.runIf(ALL)("a text that is foreign to it loses half of what all 4 bits would cost", async () => {
  const reference = await open(false);
  const { tokenizer } = readLanguage(reference.loaded.repository);
  const text = readFileSync(join(fixtures, "text/pd_children.txt"), "utf8");
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  const auto = await measure(await open("auto"), [{ ids, from: 1 }], reference);
  expect(auto.divergence).toBeLessThanOrEqual(0.15);
  const mlx = await measure(await open("mlx"), [{ ids, from: 1 }], reference);
  expect(mlx.divergence).toBeGreaterThan(2 * auto.divergence);
  expect(mlx.agreement).toBeLessThan(auto.agreement);
  expect(auto.tokens).toBeGreaterThan(250);
});

test("quantised by mlx's rule, the published floats give the bits of the repository that mlx_lm made", async () => {
  const logits = async ({ speaker, loaded }: Opened) => {
    const rows: number[] = [];
    const session = new Session(speaker, loaded, { taps: "all", onTaps: (taps) => rows.push(...taps.get("logits")!) });
    await session.prefill([1, 5, 99, 300, 1200, 7, 42], null);
    return rows;
  };
  expect(await logits(await open("mlx"))).toEqual(await logits(await open(false, "mlx-4bit")));
});

test("bits per weight: 4.5 for experts, 8.5 for the rest", async () => {
  const { bitsPerWeight, denseBytes, recordBytes } = weigh((await open("auto")).loaded);
  // By hand: attention of 5 layers [192 + 64 + 64 + 192 rows of 192], 40 experts of 3 x 192 x 192.
  const [attention, experts] = [5 * 512 * 192, 40 * 3 * 192 * 192];
  expect(bitsPerWeight).toBeCloseTo((8.5 * attention + 4.5 * experts) / (attention + experts), 2);
  expect(recordBytes).toBe((3 * 192 * 192 * 4.5) / 8);
  expect(denseBytes).toBeGreaterThan((8.5 / 8) * (attention + 2048 * 192));
  expect(weigh((await open("mlx")).loaded).bitsPerWeight).toBeCloseTo(4.5, 2);
  expect(weigh((await open(false)).loaded).bitsPerWeight).toBeCloseTo(16, 2);
});
