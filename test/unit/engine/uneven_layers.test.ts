import { expect, test } from "vitest";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { unevenAnswer } from "../../support/uneven_model.ts";

const ALL = 5 + 3 + 40;

test("window, cache, rope, experts, A and rule are each layer's own, and no budget shows", async () => {
  const resident = await unevenAnswer(cpuSpeaker(), { slots: ALL });
  expect(resident.loaded.rings.map(({ window, width }) => [window, width])).toEqual([
    [6, 8],
    [null, 16],
    [9, 16],
    [null, 8],
  ]);
  expect(new Set(resident.words).size).toBeGreaterThan(3);
  const { decode } = resident.pool;
  expect(decode.hits + decode.misses).toBe(9 * (2 + 1 + 3));
  for (const options of [{ slots: 3 }, { slots: 4, chunk: 7 }, { slots: 20, prefetch: true }, { chunk: 1 }]) {
    const { words, logits } = await unevenAnswer(cpuSpeaker(), options);
    expect(words).toEqual(resident.words);
    expect(logits).toEqual(resident.logits);
  }
});

test("it is complete with each layer's own number of experts, and needs slots for the largest A", async () => {
  const { pool } = await unevenAnswer(cpuSpeaker(), { slots: 1000 });
  expect([pool.slots.count, pool.slots.most, pool.top]).toEqual([ALL, ALL, 3]);
  expect(pool.complete).toBe(pool.residentExperts === ALL);
  await expect(unevenAnswer(cpuSpeaker(), { slots: 2 })).rejects.toMatchObject({ code: "budget-too-small" });
});
