import { afterEach, expect, test, vi } from "vitest";
import { layVector } from "../../src/base/matrix.ts";
import { gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import type { Step } from "../../src/ops/ops.ts";
import { chunksOf, fill, GREEDY, makeStack, STACK, someIds } from "../support/stack.ts";

afterEach(() => vi.restoreAllMocks());

const CREATIONS = [
  "createBuffer",
  "createBindGroup",
  "createBindGroupLayout",
  "createComputePipeline",
  "createPipelineLayout",
  "createShaderModule",
  "createTexture",
  "createSampler",
  "createQuerySet",
] as const;

/** Counts calls on the prototypes from now on. */
function count() {
  const creations = CREATIONS.map((name) => vi.spyOn(GPUDevice.prototype, name));
  const submit = vi.spyOn(GPUQueue.prototype, "submit");
  const map = vi.spyOn(GPUBuffer.prototype, "mapAsync");
  const pass = vi.spyOn(GPUCommandEncoder.prototype, "beginComputePass");
  const dispatch = vi.spyOn(GPUComputePassEncoder.prototype, "dispatchWorkgroups");
  return () => ({
    created: creations.reduce((sum, spy) => sum + spy.mock.calls.length, 0),
    submissions: submit.mock.calls.length,
    passes: pass.mock.calls.length,
    readbacks: map.mock.calls.length,
    readBytes: map.mock.calls.reduce((sum, [, , bytes]) => sum + (bytes ?? 0), 0),
    dispatches: dispatch.mock.calls.length,
  });
}

test("a replayed token is one submission, one pass and one readback, and creates nothing", async () => {
  const speaker = await gpuSpeaker();
  const stack = await makeStack(speaker, STACK.layers * STACK.experts);
  fill(stack);
  const [many, one] = [stack.record("many", 16), stack.record("one", 1)];
  const prompt = chunksOf(someIds(16), 16)[0]!;
  await many.run(prompt, many.begin, many.end);
  const follow = (seq: number): Step => ({
    seq,
    position: 15 + seq,
    count: 1,
    tokens: "sampled",
    sample: GREEDY,
    marked: 1,
  });
  await one.run(follow(1), one.begin, one.end);
  const held = speaker.memory();

  const counted = count();
  for (const seq of [2, 3]) await one.run(follow(seq), one.begin, one.end);
  await many.run(prompt, many.begin, many.end);
  const { readBytes, dispatches, ...rest } = counted();
  expect(rest).toEqual({ created: 0, submissions: 3, passes: 3, readbacks: 3 });
  expect(readBytes).toBeLessThanOrEqual(3 * 4096);
  // embed, 18 a layer, last row, norm, head, sample; a token alone attends in splits, and merges them.
  expect(dispatches).toBe(3 * (1 + 18 * STACK.layers + 4) + 2 * STACK.layers);
  expect(speaker.memory()).toEqual(held);
  await speaker.check();
  speaker.close();
});

test("plans share the memory of activations", async () => {
  const speaker = await gpuSpeaker();
  const stack = await makeStack(speaker, 2);
  stack.record("many", 256);
  const { arena } = speaker.memory();
  stack.record("many", 256);
  stack.record("many", 64);
  expect(speaker.memory().arena).toBe(arena);
  await speaker.check();
  speaker.close();
});

test("what the GPU refuses is thrown by the next run, and once", async () => {
  const speaker = await gpuSpeaker();
  const stack = await makeStack(speaker, STACK.layers * STACK.experts);
  fill(stack);
  const plan = stack.record("one", 1);
  const step = chunksOf(someIds(1), 1)[0]!;
  speaker.write(speaker.weight(layVector(4)), 16, new Uint8Array(16));
  await expect(plan.run(step, plan.begin, plan.end)).rejects.toThrow(/buffer/i);
  await plan.run(step, plan.begin, plan.end);
  await speaker.check();
  speaker.close();
});

test("a matrix or a pool that no buffer of this GPU holds is refused in words", async () => {
  const speaker = await gpuSpeaker();
  const huge = {
    rows: 1,
    columns: 1,
    encoding: { kind: "plain", dtype: "f32" },
    stride: 1,
    first: 0,
    weight: 0,
    scales: 0,
    biases: 0,
  } as const;
  expect(() => speaker.weight({ ...huge, end: 2 ** 40 })).toThrow(expect.objectContaining({ code: "out-of-memory" }));
  expect(() => speaker.slots(2 ** 20, 2 ** 24, [1])).toThrow(expect.objectContaining({ code: "out-of-memory" }));
  speaker.close();
});

test("no adapter is an error that says what to do", async () => {
  const none = { requestAdapter: async () => null } as unknown as GPU;
  await expect(gpuSpeaker(none)).rejects.toMatchObject({ code: "no-webgpu" });
});

test("a closed speaker refuses to run", async () => {
  const speaker = await gpuSpeaker();
  const plan = (await makeStack(speaker, 2)).record("one", 1);
  speaker.close();
  await expect(plan.run(chunksOf(someIds(1), 1)[0]!, plan.begin, plan.end)).rejects.toMatchObject({ code: "closed" });
});
