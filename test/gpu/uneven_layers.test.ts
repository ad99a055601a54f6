import { expect, test } from "vitest";
import { cpuSpeaker } from "../../src/ops/cpu/speaker.ts";
import { gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import { differences } from "../support/compare.ts";
import { unevenAnswer } from "../support/uneven_model.ts";

test("layers that differ in window, cache, rope, E, A and F agree with the CPU, and no budget shows", async () => {
  const gpu = await gpuSpeaker();
  const [resident, expected] = [await unevenAnswer(gpu), await unevenAnswer(cpuSpeaker())];
  expect(differences(resident.logits, expected.logits, 1e-3)).toBe("");
  expect(resident.words).toEqual(expected.words);
  for (const options of [{ slots: 3 }, { slots: 9, chunk: 7, prefetch: true }]) {
    const { words, logits } = await unevenAnswer(gpu, options);
    expect(words).toEqual(resident.words);
    expect(logits).toEqual(resident.logits);
  }
  await gpu.check();
  gpu.close();
});
