import fc from "fast-check";
import { expect, test } from "vitest";
import { Pool } from "../../../src/experts/pool.ts";
import { runStep } from "../../../src/experts/step.ts";
import { cpuSpeaker } from "../../../src/ops/cpu.ts";
import { BUCKETS, type Plan, type Sampling } from "../../../src/ops/ops.ts";
import { numbers, type ToyShape, toyModel } from "../../support/toy_model.ts";

const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, seed: 0 };
const SHAPES: readonly ToyShape[] = [
  { layers: 3, experts: 5, top: 2, window: null },
  { layers: 2, experts: 8, top: 3, window: 7 },
  { layers: 4, experts: 3, top: 1, window: 5 },
];

interface Run {
  readonly shape: ToyShape;
  readonly slots: number;
  readonly chunk: number;
  readonly prompt: number;
  readonly generate: number;
  readonly readsAtOnce: number;
  readonly delays: readonly number[];
  /** Reads that fail once, counted over all reads. */
  readonly failing: readonly number[];
  /** Reads at which the step is aborted, and then repeated. */
  readonly aborting: readonly number[];
}

/** Runs a prompt in chunks, then greedy tokens; returns every row of logits and what the pool counted. */
async function run({ shape, slots, chunk, prompt, generate, readsAtOnce, delays, failing, aborting }: Run) {
  const speaker = cpuSpeaker();
  const toy = toyModel(speaker, shape, slots, 64);
  const next = numbers(7);
  const ids = Array.from({ length: prompt }, () => Math.floor((next() + 1) * 0.5 * toy.vocabulary));
  const uploads = new Map<string, number>();
  let reads = 0;
  let chunkNumber = 0;
  let abort = new AbortController();
  const pool = new Pool(
    toy.slots,
    shape.top,
    async (layer, expert, signal) => {
      const read = reads++;
      const delay = delays[read % Math.max(1, delays.length)] ?? 0;
      for (let i = 0; i < delay; i++) await Promise.resolve();
      if (failing.includes(read)) throw new Error("a transient failure");
      if (aborting.includes(read)) abort.abort(new Error("the user stopped"));
      signal?.throwIfAborted();
      const key = `${chunkNumber}/${layer}/${expert}`;
      uploads.set(key, (uploads.get(key) ?? 0) + 1);
      return { bytes: toy.record(layer, expert), from: "memory" };
    },
    readsAtOnce,
  );
  const plans = new Map<number, Plan>();
  const plan = (count: number, form: "one" | "many") => {
    const bucket = form === "one" ? 1 : BUCKETS.find((size) => size > 1 && size >= count)!;
    if (!plans.has(bucket)) plans.set(bucket, speaker.record(form, bucket, toy.say, "all"));
    return plans.get(bucket)!;
  };

  const logits: number[] = [];
  let seq = 0;
  let failures = 0;
  const step = async (form: "one" | "many", position: number, tokens: number[], sample: Sampling | null) => {
    for (;;) {
      try {
        const marked = tokens.length;
        const current = {
          seq: seq++,
          position,
          count: tokens.length,
          tokens: Uint32Array.from(tokens),
          sample,
          marked,
        };
        const report = await runStep(plan(tokens.length, form), current, pool, abort.signal);
        chunkNumber++;
        logits.push(...(await plan(tokens.length, form).taps()).get("logits")!);
        return report.token;
      } catch (error) {
        failures++;
        if (!/transient|stopped/.test((error as Error).message)) throw error;
        abort = new AbortController();
        chunkNumber++;
      }
    }
  };
  let token = 0;
  for (let at = 0; at < prompt; at += chunk) {
    const sample = at + chunk >= prompt ? GREEDY : null;
    token = await step("many", at, ids.slice(at, at + chunk), sample);
  }
  const generated = [token];
  for (let n = 1; n < generate; n++) {
    token = await step("one", prompt + n - 1, [token], GREEDY);
    generated.push(token);
  }
  return { logits, generated, pool, uploads, reads, failures };
}

const runs = fc.constantFrom(...SHAPES).chain((shape) =>
  fc.record({
    shape: fc.constant(shape),
    slots: fc.integer({ min: shape.top, max: shape.layers * shape.experts }),
    chunk: fc.constantFrom(1, 3, 7, 16, 40),
    prompt: fc.integer({ min: 1, max: 33 }),
    generate: fc.integer({ min: 1, max: 5 }),
    readsAtOnce: fc.integer({ min: 1, max: 4 }),
    delays: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 7 }),
    failing: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 2 }),
    aborting: fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 2 }),
  }),
);

test("any budget, chunking, read order, failure and abort gives the logits of the resident model, bit for bit", async () => {
  await fc.assert(
    fc.asyncProperty(runs, async (given) => {
      const { shape, prompt } = given;
      const resident = {
        ...given,
        slots: shape.layers * shape.experts,
        chunk: prompt,
        delays: [],
        failing: [],
        aborting: [],
      };
      const [got, want] = [await run(given), await run(resident)];
      expect(got.generated).toEqual(want.generated);
      expect(got.logits).toEqual(want.logits);
    }),
    { numRuns: 120, seed: 20261124 },
  );
});

test("no expert is uploaded twice in a chunk and layer, and counters add up", async () => {
  await fc.assert(
    fc.asyncProperty(runs, async (given) => {
      const { pool, uploads, reads, failures } = await run(given);
      expect(Math.max(...uploads.values())).toBe(1);
      const counted = pool.prefill.uploads + pool.decode.uploads;
      expect(counted).toBeLessThanOrEqual(reads);
      expect(counted).toBeGreaterThanOrEqual(reads - failures * given.readsAtOnce);
      expect(pool.prefill.tokens + pool.decode.tokens).toBe(given.prompt + given.generate - 1);
      expect(pool.residentExperts).toBeLessThanOrEqual(given.slots);
    }),
    { numRuns: 60, seed: 20261124 },
  );
});

test("passes per token are 1 + layers with a miss", async () => {
  const shape = SHAPES[0]!;
  const given = {
    shape,
    slots: 15,
    chunk: 16,
    prompt: 9,
    generate: 6,
    readsAtOnce: 1,
    delays: [],
    failing: [],
    aborting: [],
  };
  const { pool } = await run(given);
  const { decode } = pool;
  expect(decode.tokens).toBe(5);
  expect(decode.hits + decode.misses).toBe(5 * shape.layers * shape.top);
  expect(decode.passes).toBeLessThanOrEqual(decode.tokens + decode.misses);
  const again = await run({ ...given, prompt: 33, generate: 20 });
  expect(again.pool.residentExperts).toBe(15);
  expect(again.pool.decode.passes - again.pool.decode.tokens).toBeLessThanOrEqual(again.pool.decode.misses);
});
