import "fake-indexeddb/auto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { type LoadOptions, loadModel } from "../../../src/engine/load.ts";
import { Session } from "../../../src/engine/session.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { NONE, type Sampling, type Taps } from "../../../src/ops/ops.ts";
import type { Source } from "../../../src/source/source.ts";
import { openIndexedDbStore } from "../../../src/store/indexeddb.ts";
import type { Store } from "../../../src/store/store.ts";
import { ALL } from "../../support/all.ts";
import { computedMixtral, everywhere, type MixtralShape, TINY } from "../../support/computed_mixtral.ts";
import { computedSource } from "../../support/computed_source.ts";
import { drawRoutes } from "../../support/drawn_routes.ts";
import { FakeSpeaker } from "../../support/fake_device.ts";
import { Fingerprints } from "../../support/fingerprints.ts";
import {
  fillWords,
  type Geometry,
  MIXTRAL_8X7B,
  Q4,
  QWEN3_30B_A3B,
  recordBytes,
} from "../../support/synthetic_model.ts";
import { toyModel } from "../../support/toy_model.ts";

const SEED = 8;
const SAMPLING: Sampling = { temperature: 0.9, topK: 0, topP: 1, seed: 42 };

/** The experts of Qwen3-30B-A3B, each small enough to be computed here. */
const SMALL: Geometry = { ...QWEN3_30B_A3B, width: 16, hidden: 8 };

/** Experts as MLX publishes them, within a decoder that is small besides its width. */
const quantised = (geometry: Geometry): MixtralShape => ({
  ...TINY,
  ...geometry,
  heads: 8,
  encodings: everywhere(Q4),
  norms: "bf16",
  stacked: true,
});

/** The same number of experts, 48 bytes each. */
const minute = (geometry: Geometry): MixtralShape => ({
  ...TINY,
  ...geometry,
  width: 4,
  hidden: 2,
  encodings: everywhere({ kind: "plain", dtype: "bf16" }),
  stacked: true,
});

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

interface Drive extends Pick<LoadOptions, "prefetch"> {
  readonly slots: number;
  readonly prompt: number;
  readonly chunk: number;
  readonly generate: number;
  readonly store?: Store;
  /** Default: the model's computed one. */
  readonly source?: Source;
}

/**
 * Opens a model, runs a prompt and an answer whose tokens want what was drawn, and compares each
 * slot that serves an expert with what is published of it.
 */
async function drive(shape: MixtralShape, given: Drive) {
  const { layers, experts, top } = shape;
  const { prompt, chunk, generate, prefetch = false, store = null } = given;
  const { config, tensors, record } = computedMixtral(shape);
  const tokens = prompt + generate;
  const routes = drawRoutes(shape, tokens, { repeat: 0.3, skew: 1 });
  let served = 0;
  const wrong: string[] = [];
  const speaker = new FakeSpeaker((position, layer) => routes[position % tokens]![layer]!, {
    onUse(slot, id) {
      served++;
      if (!prints.matches(slot, id)) wrong.push(`slot ${slot} does not hold expert ${id}`);
    },
  });
  const source = given.source ?? computedSource(config, tensors);
  const options = { quantize: false, slots: given.slots, contextLength: tokens, prefetch };
  const loaded = await loadModel(speaker, source, store, options);
  const pool = loaded.pool!;
  const slots = speaker.made!;
  const prints = new Fingerprints(slots, (id) => record(Math.floor(id / experts), id % experts));
  expect(slots.count).toBe(given.slots);

  const session = new Session(speaker, loaded, { chunk });
  await session.prefill(Array(prompt).fill(0), SAMPLING);
  const evictedBefore = slots.evictions;
  const servedBefore = served;
  while (session.position < tokens) {
    const { token } = await session.decode(0, SAMPLING);
    expect(token, "the token comes to its end").toBe(session.position);
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
  expect(slots.writtenBytes).toBe(uploads * loaded.library!.recordBytes);
  expect(prefill.bytesFromNetwork + decode.bytesFromNetwork).toBe(store ? 0 : slots.writtenBytes);
  expect(prefill.bytesFromStore + decode.bytesFromStore).toBe(store ? slots.writtenBytes : 0);
  expect(decode.hits + decode.misses).toBe(generate * layers * top);
  expect(prefill.uploads).toBe(prefill.misses);
  expect(prefill.uploads, "each expert at most once").toBeLessThanOrEqual(layers * experts);
  if (!prefetch) expect(decode.uploads).toBe(decode.misses);
  return { pool, slots, evictedInAnswer: slots.evictions - evictedBefore };
}

test("the experts of Mixtral-8x7B, 99 MB each, pass from its file through an eighth of their slots; none is ever taken for another", async () => {
  const layers = ALL ? MIXTRAL_8X7B.layers : 3;
  const given = { slots: layers, prompt: 5, chunk: 3, generate: 2 };
  const { pool, slots } = await drive(quantised({ ...MIXTRAL_8X7B, layers }), given);
  expect(slots.bytes).toBe(recordBytes(MIXTRAL_8X7B));
  expect(slots.evictions).toBeGreaterThanOrEqual(6 * layers);
  expect(pool.decode.hits).toBeGreaterThan(0);
}, 180_000);

test.each([
  { name: "Mixtral-8x7B", geometry: MIXTRAL_8X7B, slots: 96, generate: 200 },
  { name: "Qwen3-30B-A3B", geometry: QWEN3_30B_A3B, slots: 10, generate: 10 },
  { name: "Qwen3-30B-A3B", geometry: QWEN3_30B_A3B, slots: 384, generate: 30 },
  { name: "Qwen3-30B-A3B", geometry: QWEN3_30B_A3B, slots: 3072, generate: 60 },
])("$name, $slots slots of 48 bytes: thousands of evictions, with guesses and several reads at once", async (given) => {
  const { slots, generate } = given;
  const conditions = { prompt: 37, chunk: 16, prefetch: true, slots, generate };
  const { pool, evictedInAnswer } = await drive(minute(given.geometry), conditions);
  const { prefetches, misses, uploads } = pool.decode;
  expect(evictedInAnswer).toBeGreaterThan(2000);
  if (slots > 10) expect(prefetches).toBeGreaterThan(0);
  expect(uploads).toBeGreaterThanOrEqual(misses);
  expect(uploads).toBeLessThanOrEqual(misses + prefetches);
});

/** An answer of the small model, computed. */
async function answer(
  geometry: Geometry,
  slots: number,
  tokens: number,
  taps: Taps,
  between: (count: number) => void = () => {},
) {
  const speaker = cpuSpeaker();
  const shape = { ...geometry, vocabulary: 61, window: 24, stacked: true };
  const { loaded, pool, cached } = await toyModel(speaker, shape, { slots, contextLength: tokens + 8 });
  const logits: Float32Array[] = [];
  const session = new Session(speaker, loaded, {
    taps,
    onTaps: (tapped) => logits.push(tapped.get("logits") as Float32Array),
  });
  const { token } = await session.prefill([3, 1, 4, 1, 5], SAMPLING);
  const words = [token];
  for await (const word of session.generate(token, SAMPLING, tokens - 1)) {
    words.push(word);
    between(words.length);
  }
  return { words, logits, caches: cached(session.position), pool };
}

const TOKENS = 60;
let resident: ReturnType<typeof answer> | undefined;

test.each(ALL ? [384, 768, 3072] : [384, 3072])(
  "48 x 128 experts in %i slots: the bits of the resident model",
  async (slotCount) => {
    resident ??= answer(SMALL, SMALL.layers * SMALL.experts, TOKENS, "all");
    const [got, want] = [await answer(SMALL, slotCount, TOKENS, "all"), await resident];
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
  },
);

/** Bytes of JS heap and ArrayBuffers that are in use. */
function inUse(): number {
  setFlagsFromString("--expose_gc");
  const collect = runInNewContext("gc") as () => void;
  for (let round = 0; round < 3; round++) collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const [FEW, MANY] = ALL ? [500, 2000] : [500, 800];
/** What so many tokens may leave behind: their ids, and what the engine learns about hot code. */
const MOST_LEFT_BYTES = 400_000;

test(`memory is flat from ${FEW} to ${MANY} tokens`, async () => {
  const bytes = new Map<number, number>();
  // An eighth of the experts in slots.
  const layers = ALL ? 24 : 6;
  const { pool } = await answer({ ...SMALL, layers }, 16 * layers, MANY, "none", (count) => {
    if (count === FEW || count === MANY) bytes.set(count, inUse());
  });
  expect(pool.decode.tokens).toBe(MANY - 1);
  expect(bytes.get(MANY)! - bytes.get(FEW)!).toBeLessThan(MOST_LEFT_BYTES);
}, 180_000);

test.runIf(ALL)(
  "records of 99 MB pass into IndexedDB, on a second visit from there into slots, and are evicted",
  async () => {
    const shape = quantised({ ...MIXTRAL_8X7B, layers: 1, experts: 4 });
    const { config, tensors } = computedMixtral(shape);
    const source = computedSource(config, tensors);
    const store = await openIndexedDbStore("mixtab-scale");
    const speaker = new FakeSpeaker(() => {
      throw new Error("nothing runs");
    });
    const first = await loadModel(speaker, source, store, { quantize: false, slots: 2 });
    await first.fill(new AbortController().signal);

    const offline: Source = {
      ...source,
      read() {
        throw new Error("a second visit asks for no weights");
      },
    };
    const given = { slots: 2, prompt: 5, chunk: 3, generate: 8, store, source: offline };
    const { slots } = await drive(shape, given);
    expect(slots.bytes).toBe(recordBytes(MIXTRAL_8X7B));
    expect(slots.evictions).toBeGreaterThan(3);
    store.close();
  },
  120_000,
);
