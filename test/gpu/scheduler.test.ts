import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type GpuSpeaker, gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import { type Conditions, conversation, SHAPES } from "../support/scheduler.ts";

let gpu: GpuSpeaker;

beforeAll(async () => {
  gpu = await gpuSpeaker();
});
afterAll(async () => {
  await gpu.check();
  gpu.close();
});

const SHAPE = SHAPES[1]!;
const ALL = SHAPE.layers * SHAPE.experts;
const base = { shape: SHAPE, slots: ALL, prompt: 37, generate: 8, taps: "all" } as const;
const talk = (given: Conditions) => conversation(given, gpu);

describe("the bits of the resident model, with", () => {
  let expected: Awaited<ReturnType<typeof conversation>>;
  beforeAll(async () => {
    expected = await talk(base);
  });
  const conditions: Record<string, Partial<Conditions>> = {
    "A slots": { slots: SHAPE.top },
    "chunks of 7 in segments, A slots": { slots: SHAPE.top, chunk: 7, readsAtOnce: 2 },
    "chunks of 16, half the slots": { slots: ALL / 2, chunk: 16, delays: [3, 0, 9] },
    "groups of layers": { slots: 5, mode: "grouped" },
    "guesses read ahead": { slots: 9, prefetch: true, delays: [2] },
    "slots taken and given in mid-answer": {
      slots: 6,
      budgets: [
        { token: 2, slots: ALL },
        { token: 4, slots: 3 },
        { token: 6, slots: 11 },
      ],
    },
  };
  test.each(Object.entries(conditions))("%s", async (_, given) => {
    const { words, logits, twice, pool } = await talk({ ...base, ...given });
    expect(words).toEqual(expected.words);
    expect(logits).toEqual(expected.logits);
    expect(twice).toEqual([]);
    if (given.prefetch) expect(pool.decode.prefetches).toBeGreaterThan(0);
  });

  test("tokens queued ahead of each other", async () => {
    const { words, pool } = await talk({ ...base, taps: "none", generate: 8 });
    expect(words).toEqual(expected.words);
    expect(pool.mode).toBe("queued");
  });
});

test("guesses are the CPU's, and change no bit", async () => {
  const given = { ...base, slots: 6, prefetch: true };
  const [got, want] = [await talk(given), await conversation(given)];
  expect(got.words).toEqual(want.words);
  expect(got.pool.recall).toEqual(want.pool.recall);
  expect(Math.max(...got.pool.recall)).toBeGreaterThan(0);
});

test("growth that the GPU refuses leaves the old pool working", async () => {
  const expected = await talk(base);
  const pop = GPUDevice.prototype.popErrorScope;
  let refuse = false;
  const spy = vi.spyOn(GPUDevice.prototype, "popErrorScope").mockImplementation(async function (this: GPUDevice) {
    const error = await pop.call(this);
    return refuse ? new GPUOutOfMemoryError("none left") : error;
  });
  const given = { ...base, slots: 4, budgets: [{ token: 3, slots: 12 }] };
  const talking = conversation(
    {
      ...given,
      onResize: (before: boolean) => {
        refuse = before;
      },
    },
    gpu,
  );
  const { words, logits, refusals, toy } = await talking;
  spy.mockRestore();
  expect(refusals.length).toBe(1);
  expect(toy.slots.count).toBe(4);
  expect(words).toEqual(expected.words);
  expect(logits).toEqual(expected.logits);
});
