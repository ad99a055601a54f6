import { expect, test } from "vitest";
import { Connections } from "../../../src/engine/connections.ts";
import { loadModel } from "../../../src/engine/load.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { Outage, type Source } from "../../../src/source/source.ts";
import { memoryStore } from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";
import { computedMixtral } from "../../support/computed_mixtral.ts";
import { computedSource, wordsOfSlices } from "../../support/computed_source.ts";
import { STACK } from "../../support/stack.ts";

const SHAPE = { ...STACK, layers: 3, experts: 8, stacked: true };
const { config, tensors, record } = computedMixtral(SHAPE);
const OPTIONS = { quantize: false, slots: 2, contextLength: 8 } as const;

interface Request {
  readonly begin: number;
  readonly end: number;
}

/** A computed model whose ranges are counted once it is open, and may be held up. */
async function open(store: Store | null = memoryStore()) {
  const source = computedSource(config, tensors);
  const requests: Request[] = [];
  let gate = Promise.resolve();
  const counting: Source = {
    ...source,
    async *read(file, begin, end, signal) {
      requests.push({ begin, end });
      await gate;
      signal?.throwIfAborted();
      yield* source.read(file, begin, end, signal);
    },
  };
  const { library } = await loadModel(cpuSpeaker(), counting, store, OPTIONS);
  requests.length = 0;
  /** Holds up every range that begins from now on; the function returned lets them go. */
  const hold = () => {
    let release = (_error?: Error) => {};
    gate = new Promise((resolve, reject) => {
      release = (error) => (error ? reject(error) : resolve());
    });
    gate.catch(() => {});
    return (error?: Error) => {
      release(error);
      gate = Promise.resolve();
    };
  };
  return { library: library!, requests, hold };
}

const experts = Array.from({ length: SHAPE.layers * SHAPE.experts }, (_, id) => [
  Math.floor(id / SHAPE.experts),
  id % SHAPE.experts,
]) as [number, number][];

async function bytesOf(library: Awaited<ReturnType<typeof open>>["library"], layer: number, expert: number) {
  const got = new Uint8Array(library.recordBytes);
  const from = await library.read(layer, expert, (offset, bytes) => got.set(bytes, offset));
  const published = new Uint8Array(wordsOfSlices(record(layer, expert)).buffer);
  expect(Buffer.compare(got, published), `expert ${expert} of layer ${layer}`).toBe(0);
  return from;
}

/** Ranges may overlap by what lies between two tensors, but no byte of an expert comes twice. */
function expectOnce(requests: readonly Request[]) {
  const sorted = [...requests].sort((a, b) => a.begin - b.begin);
  for (const [index, { begin }] of sorted.slice(1).entries())
    expect(begin, "a range begins behind those before").toBeGreaterThanOrEqual(sorted[index]!.end);
}

const settled = () => new Promise((resolve) => setTimeout(resolve));

test("what is demanded while the fill runs is right, and no byte is asked for twice", async () => {
  const alone = await open();
  await alone.library.fill(new AbortController().signal);
  const { library, requests } = await open();
  const filled = library.fill(new AbortController().signal);
  for (const [layer, expert] of [...experts].reverse()) await bytesOf(library, layer, expert);
  expect(await filled).toBe(true);
  expectOnce(requests);
  expect(requests.length).toBeLessThanOrEqual(2 * alone.requests.length);
});

test("an expert whose bytes are on their way in a window of the fill is waited for, not fetched again", async () => {
  const { library, requests, hold } = await open();
  const release = hold();
  const filled = library.fill(new AbortController().signal);
  await settled();
  const before = requests.length;
  const read = bytesOf(library, 0, 0); // the first window's only expert
  await settled();
  // The window's other ranges, which waited as the background's do, may start now.
  expect(requests.length).toBeGreaterThan(before);
  release();
  expect(await read).toBe("network");
  await filled;
  expectOnce(requests);
});

test("experts demanded together share requests with each other and with their missing neighbours", async () => {
  const { library, requests } = await open();
  await Promise.all([bytesOf(library, 1, 2), bytesOf(library, 1, 4), bytesOf(library, 1, 7)]);
  const together = requests.length;
  for (let expert = 0; expert < SHAPE.experts; expert++) await bytesOf(library, 1, expert);
  expect(requests.length, "the layer's others have come along").toBe(together);
  expect(together).toBeLessThanOrEqual(9);
});

test("without a store only what is demanded is fetched", async () => {
  const { library, requests } = await open(null);
  await bytesOf(library, 1, 2);
  const bytes = requests.reduce((sum, { begin, end }) => sum + end - begin, 0);
  expect(bytes).toBe(library.recordBytes);
});

test("an answer that is stopped leaves its window to the store; without one, its requests end", async () => {
  for (const store of [memoryStore(), null]) {
    const { library, requests, hold } = await open(store);
    const release = hold();
    const stop = new AbortController();
    const read = library.read(0, 3, () => {}, stop.signal);
    await settled();
    stop.abort(new Error("enough"));
    await expect(read).rejects.toThrow("enough");
    const next = bytesOf(library, 0, 3);
    release();
    await next;
    const begins = requests.map(({ begin }) => begin);
    expect(new Set(begins).size === begins.length, store ? "kept" : "not kept").toBe(store !== null);
  }
});

test("who waits for a window hears of its failure, and the next demand asks anew", async () => {
  const { library, hold } = await open();
  const release = hold();
  const filled = library.fill(new AbortController().signal);
  await settled();
  const read = library.read(0, 0, () => {});
  await settled();
  release(new Outage("network", "gone"));
  await expect(read).rejects.toThrow("gone");
  await expect(filled).rejects.toThrow("gone");
  expect(await bytesOf(library, 0, 0)).toBe("network");
  expect(await library.fill(new AbortController().signal)).toBe(true);
});

test("two readers of one expert both get it, also where nothing is kept", async () => {
  const { library } = await open(null);
  expect(await Promise.all([bytesOf(library, 0, 1), bytesOf(library, 0, 1)])).toEqual(["network", "network"]);
});

test("a background request that comes to be in demand starts ahead of the background", async () => {
  const connections = new Connections();
  const purpose = { inDemand: false };
  let end = () => {};
  const demand = connections.demand(() => new Promise<void>((resolve) => (end = resolve)));
  let started = false;
  const run = connections.run(purpose, async () => {
    started = true;
  });
  await settled();
  expect(started).toBe(false);
  purpose.inDemand = true;
  connections.wake();
  await run;
  end();
  await demand;
});
