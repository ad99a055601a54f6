import { afterAll, beforeAll, expect, test } from "vitest";
import { type GpuSpeaker, gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import type { Bucket } from "../../src/ops/ops.ts";
import { ALL } from "../support/all.ts";
import { chunksOf, fill, makeStack, STACK, someIds } from "../support/stack.ts";

let gpu: GpuSpeaker;

beforeAll(async () => {
  gpu = await gpuSpeaker();
});
afterAll(async () => {
  await gpu.check();
  gpu.close();
});

/** Logits of every token of a prompt, as bits. */
async function logits(chunk: number, bucket: Bucket, ids: Uint32Array): Promise<Uint32Array> {
  const stack = await makeStack(gpu, STACK.layers * STACK.experts);
  fill(stack);
  const plan = stack.record("many", bucket, "all");
  const rows: number[] = [];
  for (const step of chunksOf(ids, chunk)) {
    await plan.run(step, plan.begin, plan.end);
    rows.push(...new Uint32Array((await plan.taps()).get("logits")!.buffer));
  }
  return new Uint32Array(rows);
}

test("a prompt in chunks of any size has the bits of the whole, in any bucket", async () => {
  const count = ALL ? 150 : 70;
  const ids = someIds(count);
  const whole = await logits(count, 256, ids);
  expect(whole.length).toBe(count * STACK.vocabulary);
  const others = ALL
    ? ([
        [1, 16],
        [16, 16],
        [7, 256],
      ] as const)
    : [];
  for (const [chunk, bucket] of [[7, 16], [33, 64], ...others] as const)
    expect(await logits(chunk, bucket, ids), `chunks of ${chunk} in ${bucket}`).toEqual(whole);
});

test("a token by itself agrees with the prompt", async () => {
  const ids = someIds(20);
  const whole = new Float32Array((await logits(20, 64, ids)).buffer);
  const stack = await makeStack(gpu, STACK.layers * STACK.experts);
  fill(stack);
  const plan = stack.record("one", 1, "all");
  const rows: number[] = [];
  for (const step of chunksOf(ids, 1)) {
    await plan.run(step, plan.begin, plan.end);
    rows.push(...(await plan.taps()).get("logits")!);
  }
  rows.forEach((value, i) => {
    expect(Math.abs(value - whole[i]!)).toBeLessThan(1e-4 * (1 + Math.abs(whole[i]!)));
  });
});

test("plans that tap nothing sample what plans that tap everything sample", async () => {
  const stack = await makeStack(gpu, STACK.layers * STACK.experts);
  fill(stack);
  const plans = [stack.record("many", 16, "all"), stack.record("many", 64), stack.record("many", 16, "routes")];
  const steps = chunksOf(someIds(45), 15);
  const tokens: number[][] = [];
  for (const plan of plans) {
    const drawn: number[] = [];
    for (const step of steps) drawn.push((await plan.run(step, plan.begin, plan.end)).token);
    tokens.push(drawn);
  }
  expect(tokens[1]).toEqual(tokens[0]);
  expect(tokens[2]).toEqual(tokens[0]);
});
