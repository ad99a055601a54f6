import { expect, test } from "vitest";
import { sha256 } from "../../src/base/hash.ts";
import type { ExpertLibrary } from "../../src/engine/library.ts";
import { loadModel } from "../../src/engine/load.ts";
import { Session } from "../../src/engine/session.ts";
import { Pool, type ReadExpert } from "../../src/experts/pool.ts";
import { gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import type { Sampling } from "../../src/ops/ops.ts";
import { httpSource } from "../../src/source/http.ts";
import { ALL } from "../support/all.ts";
import { numbers } from "../support/toy_model.ts";

const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, seed: 0 };
const STEPS = 4;
/** One device for all runs: pipelines are compiled once. */
const shared = gpuSpeaker();

interface Run {
  readonly model?: string;
  readonly slots?: number;
  readonly chunk?: number;
  readonly prompt: number;
  /** Reads return in an order drawn with this seed. */
  readonly shuffle?: number;
}

/** Hash of every logit of a prompt of random ids and of some greedy steps, and what the pool did. */
async function run({ model = "mlx/mixtral_q4g64", slots, chunk, prompt, shuffle }: Run) {
  const speaker = await shared;
  const source = httpSource(new URL(`/test/fixtures/${model}/`, location.href).href);
  const loaded = await loadModel(speaker, source, null, { quantize: false, slots, contextLength: prompt + STEPS + 1 });
  const pool = shuffle === undefined ? loaded.pool! : shuffledPool(loaded.pool!, loaded.library!, shuffle);
  const logits: Float32Array[] = [];
  const session = new Session(
    speaker,
    { ...loaded, pool },
    {
      ...(chunk === undefined ? {} : { chunk }),
      taps: "all",
      onTaps: (taps) => logits.push(taps.get("logits") as Float32Array),
    },
  );
  const next = numbers(11);
  const ids = Array.from({ length: prompt }, () => Math.floor((next() + 1) * 64));
  let { token } = await session.prefill(ids, GREEDY);
  for (let step = 0; step < STEPS; step++) ({ token } = await session.decode(token, GREEDY));
  const hash = await sha256(new Uint8Array(await new Blob(logits as Float32Array<ArrayBuffer>[]).arrayBuffer()));
  return { hash, pool };
}

/** Several reads under way at once, each held back for a while. */
function shuffledPool({ slots }: Pool, library: ExpertLibrary, seed: number): Pool {
  const next = numbers(seed);
  const late: ReadExpert = async (...expert) => {
    const from = await library.read(...expert);
    await new Promise((resolve) => setTimeout(resolve, (next() + 1) * 4));
    return from;
  };
  return new Pool(slots, library.layers, late, { readsAtOnce: 8 });
}

const RESIDENT = { prompt: ALL ? 70 : 24 } as const;
const [LAYERS, EXPERTS, TOP] = [2, 8, 2];

test("equal bits for slots = top-k, top-k + 1, half, all; for any order of reads; for chunks of 1, 7, 256", async () => {
  const { hash } = await run(RESIDENT);
  for (const slots of [TOP, TOP + 1, (LAYERS * EXPERTS) / 2])
    expect((await run({ ...RESIDENT, slots })).hash, `${slots} slots`).toBe(hash);
  for (const shuffle of ALL ? [1, 2, 3] : [1])
    expect((await run({ ...RESIDENT, slots: 9, shuffle })).hash, `order ${shuffle}`).toBe(hash);
  for (const chunk of [1, 7]) expect((await run({ ...RESIDENT, chunk })).hash, `chunks of ${chunk}`).toBe(hash);
  expect((await run({ ...RESIDENT, chunk: 7, slots: 3 })).hash, "chunks of 7, 3 slots").toBe(hash);
});

/** A golden folder of each kind of mixture; `npm run test:all` takes those of every kind. */
const MIXTURES = ["mlx/gpt_oss_mxfp4_q4", "hf/lfm2_moe"];
const ALL_MIXTURES = ["qwen3_moe", "olmoe", "qwen2_moe", "granitemoe", "phimoe", "ernie4_5_moe"].map(
  (type) => `hf/${type}`,
);

test.each(ALL ? [...MIXTURES, ...ALL_MIXTURES] : MIXTURES)(
  "%s: equal bits for slots = top-k, top-k + 1, half, all, and for chunks of 1, 7, 256",
  async (model) => {
    const given = { model, prompt: ALL ? 20 : 10 };
    const { hash, pool } = await run(given);
    for (const slots of [pool.top, pool.top + 1, Math.ceil(pool.slots.most / 2)])
      expect((await run({ ...given, slots })).hash, `${slots} slots`).toBe(hash);
    for (const chunk of [1, 7]) expect((await run({ ...given, chunk })).hash, `chunks of ${chunk}`).toBe(hash);
  },
);

test("another prompt gives another hash", async () => {
  const { hash } = await run({ prompt: 20 });
  expect((await run({ prompt: 21 })).hash).not.toBe(hash);
});

test.runIf(ALL)(
  "at 2 slots a prompt of 300 tokens, two chunks, uploads each expert of a layer at most once",
  async () => {
    const { pool } = await run({ model: "storyteller-moe/mlx-4bit", prompt: 300, slots: TOP });
    const layers = 5;
    expect(pool.prefill.uploads).toBeLessThanOrEqual(layers * EXPERTS);
    expect(pool.prefill.uploads).toBeGreaterThan(layers * TOP);
  },
);
