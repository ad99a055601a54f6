import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasBit, members } from "../../src/base/bits.ts";
import { type GpuSpeaker, gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import { NONE, type Plan, type Report, type Step } from "../../src/ops/ops.ts";
import { place } from "../support/op_table.ts";
import { chunksOf, empty, fill, makeStack, STACK, type Stack, someIds } from "../support/stack.ts";

const ALL = STACK.layers * STACK.experts;
const E = STACK.experts;

let gpu: GpuSpeaker;

beforeAll(async () => {
  gpu = await gpuSpeaker();
});
afterAll(async () => {
  await gpu.check();
  gpu.close();
});

/** Gives a stalled layer what it lacks, as far as the slots go, from slot `first` on. Returns how many were written. */
function bring({ slots, records }: Stack, { stall, pending }: Report): number {
  const missing = members(pending).slice(0, slots.count);
  for (let slot = 0; slot < slots.count; slot++) slots.own(slot, NONE);
  missing.forEach((expert, slot) => {
    place(slots, records[stall * E + expert]!, stall, expert, slot);
  });
  return missing.length;
}

/** Runs a step, with whatever stalls; returns the last report and the passes it took. */
async function resolveAll(stack: Stack, plan: Plan, step: Step) {
  const stalls: Report[] = [];
  for (let from = plan.begin; ; ) {
    const report = await plan.run(step, from, plan.end);
    if (report.stall === NONE) return { report, stalls };
    stalls.push(report);
    expect(bring(stack, report)).toBeGreaterThan(0);
    from = plan.resumeAt(report.stall);
  }
}

/** Logits of every token and the last hidden states, as bits; the sets wanted; the tokens drawn. */
async function outcome(stack: Stack, form: "one" | "many") {
  const plan = stack.record(form, form === "one" ? 1 : 64, "all");
  const bits: number[] = [];
  const wanted: number[][][] = [];
  const tokens: number[] = [];
  let passes = 0;
  for (const step of chunksOf(someIds(36), form === "one" ? 1 : 18)) {
    const { report, stalls } = await resolveAll(stack, plan, step);
    passes += stalls.length + 1;
    wanted.push(report.wanted.map(members));
    tokens.push(report.token);
    for (const values of (await plan.taps()).values()) bits.push(...new Uint32Array(values.buffer));
  }
  return { bits, wanted, tokens, passes };
}

describe.each(["one", "many"] as const)("a step of the form %s", (form) => {
  test("has the same bits whatever the slots", async () => {
    const resident = await makeStack(gpu, ALL);
    fill(resident);
    const expected = await outcome(resident, form);
    expect(expected.passes).toBe(form === "one" ? 36 : 2);
    for (const slots of form === "one" ? [2, 5] : [1, 2, 3, E]) {
      const { passes, ...actual } = await outcome(await makeStack(gpu, slots), form);
      expect(passes).toBeGreaterThan(expected.passes);
      expect({ ...actual, passes: 0 }, `${slots} slots`).toEqual({ ...expected, passes: 0 });
    }
  });
});

test("a stalled report names the layer, what it lacks and what was wanted before", async () => {
  const stack = await makeStack(gpu, ALL);
  const plan = stack.record("many", 64);
  const [step] = chunksOf(someIds(20), 20);
  const first = await plan.run(step!, plan.begin, plan.end);
  expect(first).toMatchObject({ began: true, stall: 0 });
  expect(first.pending.length).toBe(1);
  expect(members(first.pending).length).toBeGreaterThanOrEqual(members(first.wanted[0]!).length);
  expect(members(first.wanted[1]!)).toEqual([]);
  bring(stack, first);
  const second = await plan.run(step!, plan.resumeAt(0), plan.end);
  expect(second).toMatchObject({ began: true, stall: 1 });
  expect(second.wanted[0]).toEqual(first.wanted[0]);
  expect(members(second.wanted[1]!).length).toBeGreaterThan(0);
});

test("only the marked tokens enter the sets wanted", async () => {
  const stack = await makeStack(gpu, ALL);
  fill(stack);
  const plan = stack.record("many", 64, "routes");
  const [step] = chunksOf(someIds(50), 50);
  for (const marked of [0, 1, 3, 50]) {
    const { wanted } = await plan.run({ ...step!, marked }, plan.begin, plan.end);
    const chosen = (await plan.taps()).get("experts.1")!;
    const expected = new Set(chosen.slice((50 - marked) * STACK.top));
    expect(members(wanted[1]!)).toEqual([...expected].sort((a, b) => a - b));
  }
});

describe("a table entry that is", () => {
  const damages: [string, (stack: Stack, expert: number) => void][] = [
    ["absent", ({ slots }, expert) => slots.map(1, expert, NONE)],
    ["beyond the slots", ({ slots }, expert) => slots.map(1, expert, ALL + 3)],
    ["another's", ({ slots }, expert) => slots.map(1, expert, ALL - 1)],
    ["of a slot that nobody owns", ({ slots }, expert) => slots.own(ALL - 1 - (E + expert), NONE)],
    ["of a slot that went to another", ({ slots }, expert) => slots.own(ALL - 1 - (E + expert), expert)],
  ];
  test.each(damages)("%s stalls, and nothing is corrupted", async (_, damage) => {
    const stack = await makeStack(gpu, ALL);
    fill(stack);
    const plan = stack.record("many", 64, "all");
    const [step] = chunksOf(someIds(20), 20);
    const { wanted } = await plan.run({ ...step!, marked: 20 }, plan.begin, plan.end);
    const expected = new Uint32Array((await plan.taps()).get("logits")!.buffer);
    const expert = members(wanted[1]!)[0]!;

    damage(stack, expert);
    const stalled = await plan.run(step!, plan.begin, plan.end);
    expect(stalled.stall).toBe(1);
    expect(members(stalled.pending)).toEqual([expert]);
    const again = await plan.run(step!, plan.resumeAt(1), plan.end);
    expect(again.pending).toEqual(stalled.pending);

    fill(stack);
    const report = await plan.run(step!, plan.resumeAt(1), plan.end);
    expect(report.stall).toBe(NONE);
    expect(new Uint32Array((await plan.taps()).get("logits")!.buffer)).toEqual(expected);
  });
});

test("a step queued behind a stall does nothing, and the stalled one resumes", async () => {
  const ids = someIds(12);
  const prompt = chunksOf(ids, 12)[0]!;
  const follow = (seq: number): Step => ({
    ...prompt,
    seq,
    position: 11 + seq,
    count: 1,
    tokens: "sampled",
    marked: 1,
  });
  const expected: Report[] = [];
  for (const resident of [true, false]) {
    const stack = await makeStack(gpu, ALL);
    fill(stack);
    const [many, one] = [stack.record("many", 16), stack.record("one", 1)];
    await many.run(prompt, many.begin, many.end);
    if (resident) {
      const queued = await Promise.all([1, 2, 3].map((seq) => one.run(follow(seq), one.begin, one.end)));
      expected.push(...queued);
      expect(queued.every(({ began, stall }) => began && stall === NONE)).toBe(true);
      continue;
    }
    empty(stack);
    const [first, second] = await Promise.all([1, 2].map((seq) => one.run(follow(seq), one.begin, one.end)));
    expect(first).toMatchObject({ seq: 1, began: true, stall: 0 });
    expect(second).toMatchObject({ seq: 2, began: false });
    expect(second!.wanted.map(members)).toEqual([[], []]);
    fill(stack);
    const reports = [await one.run(follow(1), one.resumeAt(0), one.end)];
    for (const seq of [2, 3]) reports.push(await one.run(follow(seq), one.begin, one.end));
    expect(reports).toEqual(expected);
    expect(hasBit(reports[0]!.wanted[0]!, members(first!.pending)[0]!)).toBe(true);
  }
});

test("a step may be run layer by layer", async () => {
  const stack = await makeStack(gpu, ALL);
  fill(stack);
  const plan = stack.record("many", 64);
  const [step] = chunksOf(someIds(20), 20);
  const whole = await plan.run(step!, plan.begin, plan.end);
  const first = await plan.run(step!, plan.begin, plan.after(0));
  expect(first.wanted.map(members)).toEqual([members(whole.wanted[0]!), []]);
  await plan.run(step!, plan.after(0), plan.after(1));
  expect(await plan.run(step!, plan.after(1), plan.end)).toEqual(whole);
});
