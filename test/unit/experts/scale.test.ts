import "fake-indexeddb/auto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { Session } from "../../../src/engine/session.ts";
import { Pool, type ReadExpert } from "../../../src/experts/pool.ts";
import { runSegment, runStep } from "../../../src/experts/step.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { NONE, type Sampling, type Step, type Taps } from "../../../src/ops/ops.ts";
import { openIndexedDbStore } from "../../../src/store/indexeddb.ts";
import { drawRoutes } from "../../support/drawn_routes.ts";
import { FakeSlots, fakePlan } from "../../support/fake_device.ts";
import { Fingerprints } from "../../support/fingerprints.ts";
import { syntheticDecoder } from "../../support/synthetic_decoder.ts";
import {
  fillWords,
  type Geometry,
  giveRecord,
  MIXTRAL_8X7B,
  QWEN3_30B_A3B,
  recordBytes,
} from "../../support/synthetic_model.ts";

const SEED = 8;
const SAMPLING: Sampling = { temperature: 0.9, topK: 0, topP: 1, seed: 42 };

/** The experts of Qwen3-30B-A3B, each small enough to be computed here. */
const SMALL: Geometry = { ...QWEN3_30B_A3B, width: 16, hidden: 8 };

test("the generator makes any slice of a record without the rest, and records differ", () => {
  const whole = new Uint32Array(1000);
  fillWords(whole, { seed: SEED, stream: 9 });
  const slice = new Uint32Array(100);
  fillWords(slice, { seed: SEED, stream: 9 }, 700);
  expect(slice).toEqual(whole.subarray(700, 800));
  const other = new Uint32Array(1000);
  fillWords(other, { seed: SEED, stream: 10 });
  expect(other.filter((word) => whole.includes(word)).length).toBe(0);
  expect(new Set(whole).size).toBe(1000);
});

test("a record of Mixtral-8x7B in 4 bits has 99 MB, one of Qwen3-30B-A3B 2.7 MB", () => {
  expect(recordBytes(MIXTRAL_8X7B)).toBe((3 * 4096 * 14336 * 4.5) / 8);
  expect(recordBytes(MIXTRAL_8X7B)).toBe(99_090_432);
  expect(recordBytes(QWEN3_30B_A3B)).toBe((3 * 2048 * 768 * 4.5) / 8);
});

const step = (seq: number, position: number, count: number): Step => ({
  seq,
  position,
  count,
  tokens: new Uint32Array(count),
  sample: SAMPLING,
  marked: Math.min(count, 16),
});

interface Drive {
  readonly slots: number;
  readonly bytes: number;
  /** Tokens of the prompt's chunks. */
  readonly prompt: readonly number[];
  readonly generate: number;
  readonly prefetch?: boolean;
  readonly readsAtOnce?: number;
  /** Default: the generator. */
  readonly read?: ReadExpert;
}

/** Runs a prompt and an answer whose tokens want what was drawn, and compares each slot that serves an expert with what it should hold. */
async function drive(geometry: Geometry, given: Drive) {
  const { layers, experts, top } = geometry;
  const { bytes, prompt, generate, prefetch = false, readsAtOnce = 1 } = given;
  const slots = new FakeSlots(given.slots, bytes, layers, experts);
  const prints = new Fingerprints(slots, SEED);
  const tokens = prompt.reduce((sum, count) => sum + count, generate);
  const routes = drawRoutes(geometry, tokens, { repeat: 0.3, skew: 1 });
  let served = 0;
  const wrong: string[] = [];
  const options = {
    guesses: prefetch,
    onUse(slot: number, id: number) {
      served++;
      if (!prints.matches(slot, id)) wrong.push(`slot ${slot} does not hold expert ${id}`);
    },
  };
  const plan = (form: "one" | "many") =>
    fakePlan(form, form === "one" ? 1 : 256, slots, (position, layer) => routes[position % tokens]![layer]!, options);
  const generator: ReadExpert = async (layer, expert, accept, signal) => {
    await giveRecord({ seed: SEED, stream: layer * experts + expert }, bytes, accept, signal);
    return "network";
  };
  const pool = new Pool(slots, top, given.read ?? generator, { prefetch, readsAtOnce });

  let position = 0;
  const chunks = prompt.map((count, seq) => {
    const chunk = { plan: plan("many"), step: step(seq, position, count) };
    position += count;
    return chunk;
  });
  await runSegment(chunks, pool);
  const evictedBefore = slots.evictions;
  const servedBefore = served;
  const one = plan("one");
  for (; position < tokens; position++) {
    const report = await runStep(one, step(position, position, 1), pool);
    expect(report.token, "the token comes to its end").toBe(position + 1);
  }
  await pool.quiet();

  const { prefill, decode } = pool;
  const mapped = [...slots.table.entries()].filter(([, slot]) => slot !== NONE);
  expect([wrong, slots.unsafe]).toEqual([[], []]);
  expect(served - servedBefore, "each expert of each token was served").toBe(generate * layers * top);
  expect(mapped.filter(([id, slot]) => slots.owners[slot] !== id)).toEqual([]);
  expect(mapped.length).toBe(pool.residentExperts);
  const uploads = prefill.uploads + decode.uploads;
  expect(uploads - slots.evictions, "what was not evicted is there").toBe(pool.residentExperts);
  expect(prefill.uploadedBytes + decode.uploadedBytes).toBe(slots.writtenBytes);
  expect(slots.writtenBytes).toBe(uploads * bytes);
  expect(prefill.bytesFromNetwork + decode.bytesFromNetwork).toBe(given.read ? 0 : slots.writtenBytes);
  expect(decode.hits + decode.misses).toBe(generate * layers * top);
  expect(prefill.uploads).toBe(prefill.misses);
  expect(prefill.uploads, "each expert at most once").toBeLessThanOrEqual(layers * experts);
  if (!prefetch) expect(decode.uploads).toBe(decode.misses);
  return { pool, slots, evictedInAnswer: slots.evictions - evictedBefore };
}

test("the experts of Mixtral-8x7B, 99 MB each, pass through an eighth of their slots; none is ever taken for another", async () => {
  const bytes = recordBytes(MIXTRAL_8X7B);
  const { pool, slots } = await drive(MIXTRAL_8X7B, { slots: 32, bytes, prompt: [3, 2], generate: 2 });
  expect(slots.evictions).toBeGreaterThanOrEqual(200);
  expect(pool.decode.hits).toBeGreaterThan(0);
}, 180_000);

test.each([
  { name: "Mixtral-8x7B", geometry: MIXTRAL_8X7B, slots: 96, generate: 200 },
  { name: "Qwen3-30B-A3B", geometry: QWEN3_30B_A3B, slots: 10, generate: 10 },
  { name: "Qwen3-30B-A3B", geometry: QWEN3_30B_A3B, slots: 384, generate: 30 },
  { name: "Qwen3-30B-A3B", geometry: QWEN3_30B_A3B, slots: 3072, generate: 60 },
])("$name, $slots slots of 64 bytes: thousands of evictions, with guesses and several reads at once", async (given) => {
  const conditions = { bytes: 64, prompt: [16, 16, 5], prefetch: true, readsAtOnce: 3, ...given };
  const { pool, evictedInAnswer } = await drive(given.geometry, conditions);
  const { prefetches, misses, uploads } = pool.decode;
  expect(evictedInAnswer).toBeGreaterThan(2000);
  if (given.slots > 10) expect(prefetches).toBeGreaterThan(0);
  expect(uploads).toBeGreaterThanOrEqual(misses);
  expect(uploads).toBeLessThanOrEqual(misses + prefetches);
});

/** An answer of the small model, computed. */
async function answer(slotCount: number, tokens: number, taps: Taps, between: (count: number) => void = () => {}) {
  const speaker = cpuSpeaker();
  const model = syntheticDecoder(speaker, SMALL, slotCount, tokens + 8);
  const pool = new Pool(model.slots, SMALL.top, async (layer, expert, accept) => {
    accept(0, model.record(layer, expert));
    return "memory";
  });
  const logits: Float32Array[] = [];
  const session = new Session(speaker, model.loaded(pool), {
    taps,
    onTaps: (tapped) => logits.push(tapped.get("logits") as Float32Array),
  });
  const { token } = await session.prefill([3, 1, 4, 1, 5], SAMPLING);
  const words = [token];
  for await (const word of session.generate(token, SAMPLING, tokens - 1)) {
    words.push(word);
    between(words.length);
  }
  return { words, logits, caches: model.cached(), pool };
}

const TOKENS = 60;
let resident: ReturnType<typeof answer> | undefined;

test.each([384, 768, 3072])("48 x 128 experts in %i slots: the bits of the resident model", async (slotCount) => {
  resident ??= answer(SMALL.layers * SMALL.experts, TOKENS, "all");
  const [got, want] = [await answer(slotCount, TOKENS, "all"), await resident];
  const { prefill, decode, residentExperts } = got.pool;
  expect(want.pool.residentExperts, "nothing was evicted").toBe(want.pool.prefill.uploads + want.pool.decode.uploads);
  expect(got.words).toEqual(want.words);
  expect(got.logits).toEqual(want.logits);
  expect(got.caches).toEqual(want.caches);
  expect(new Set(got.words).size).toBeGreaterThan(20);

  const uploads = prefill.uploads + decode.uploads;
  expect(uploads).toBe(prefill.misses + decode.misses);
  expect(decode.hits + decode.misses).toBe((TOKENS - 1) * SMALL.layers * SMALL.top);
  expect(uploads - residentExperts, "evictions").toBeGreaterThan(2000);
});

/** Bytes of JS heap and ArrayBuffers that are in use. */
function inUse(): number {
  setFlagsFromString("--expose_gc");
  const collect = runInNewContext("gc") as () => void;
  for (let round = 0; round < 3; round++) collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** What 1,500 tokens may leave behind: their ids, and what the engine learns about hot code. */
const MOST_LEFT_BYTES = 400_000;

test("memory is flat from 500 to 2,000 tokens", async () => {
  const bytes = new Map<number, number>();
  const { pool } = await answer(768, 2000, "none", (count) => {
    if (count === 500 || count === 2000) bytes.set(count, inUse());
  });
  expect(pool.decode.tokens).toBe(1999);
  expect(bytes.get(2000)! - bytes.get(500)!).toBeLessThan(MOST_LEFT_BYTES);
}, 180_000);

test("records of 99 MB pass from IndexedDB into slots and are evicted", async () => {
  const bytes = recordBytes(MIXTRAL_8X7B);
  const geometry = { ...MIXTRAL_8X7B, layers: 1, experts: 4 };
  const store = await openIndexedDbStore("mixtab-scale");
  for (let expert = 0; expert < geometry.experts; expert++) {
    const words = new Uint32Array(bytes / 4);
    fillWords(words, { seed: SEED, stream: expert });
    await store.put(`expert/${expert}`, new Uint8Array(words.buffer));
  }
  const read: ReadExpert = async (_layer, expert, accept, signal) => {
    expect(await store.read(`expert/${expert}`, accept, signal)).toBe(bytes);
    return "store";
  };
  const { pool, slots } = await drive(geometry, { slots: 2, bytes, prompt: [3, 2], generate: 8, read });
  expect(slots.evictions).toBeGreaterThan(3);
  expect(pool.prefill.bytesFromStore + pool.decode.bytesFromStore).toBe(slots.writtenBytes);
  store.close();
}, 120_000);
