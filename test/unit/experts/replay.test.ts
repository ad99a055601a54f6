import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { Arc, Belady, Lfu, Lru, PerLayerLru } from "../../../cli/replay/baselines.ts";
import { type Event, eventsOf, PolicyCache, type Replayed, replay } from "../../../cli/replay/replay.ts";
import { parseRouteTrace, type RouteTrace, readRouteTrace } from "../../../cli/route_trace.ts";
import { ExpectedUse, type Policy } from "../../../src/experts/policy.ts";
import { conversation, SHAPES } from "../../support/scheduler.ts";

const rate = ({ decode: { hits, misses } }: Replayed) => (100 * hits) / (hits + misses);

const CYCLES = [0.5, 1, 2, 4, 6];

describe.each([
  // By trace, hit rates at CYCLES that were found by another program: LRU, Belady.
  ["qwen", [0.0, 37.7, 47.7, 71.9, 86.4], [39.8, 57.0, 74.1, 89.0, 94.8]],
  ["gemma", [null, null, 47.4, 70.3, 82.2], [null, null, 73.0, 86.7, 93.2]],
] as const)("on the trace of %s", (name, lru, belady) => {
  let trace: RouteTrace;
  let events: readonly Event[];
  const at = (cycles: number) => Math.round(cycles * trace.layers * trace.top);
  const run = (slots: number, policy: Policy) => rate(replay(trace, events, new PolicyCache(trace, slots, policy)));
  const optimum = (slots: number) => rate(replay(trace, events, new Belady(events, slots)));
  beforeAll(async () => {
    trace = await readRouteTrace(join(import.meta.dirname, `../../fixtures/traces/${name}.route.csv.gz`));
    events = eventsOf(trace);
  });

  test("LRU and Belady do as another program found", () => {
    for (const [index, cycles] of CYCLES.entries()) {
      const [wantLru, wantBelady] = [lru[index], belady[index]];
      if (wantLru != null) expect(Math.abs(run(at(cycles), new Lru()) - wantLru)).toBeLessThanOrEqual(0.05);
      if (wantBelady != null) expect(Math.abs(optimum(at(cycles)) - wantBelady)).toBeLessThanOrEqual(0.05);
    }
  });

  test("ours is never below LRU - 0.5, nor 0 from A slots per layer up, nor farther from the optimum than the best that was known", () => {
    for (const cycles of [0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 12]) {
      const ours = run(at(cycles), new ExpectedUse(trace));
      expect(ours).toBeGreaterThan(run(at(cycles), new Lru()) - 0.5);
      if (cycles >= 0.5) expect(ours).toBeGreaterThan(20);
    }
    // Best known: per-layer decayed counts at 2, decayed counts at 6.
    expect(optimum(at(2)) - run(at(2), new ExpectedUse(trace))).toBeLessThanOrEqual(16.1);
    expect(optimum(at(6)) - run(at(6), new ExpectedUse(trace))).toBeLessThanOrEqual(8.2);
  });

  test("the textbook's policies lie between nothing and the optimum", () => {
    for (const policy of [new Lfu(), new PerLayerLru(trace), new Arc()]) {
      const found = run(at(2), policy);
      expect(found).toBeGreaterThan(45);
      expect(found).toBeLessThan(optimum(at(2)));
    }
  });
});

/** Generated tokens, by token and layer the experts; a record has 10 bytes. */
const routes = (layers: number, tokens: readonly (readonly (readonly number[])[])[]) =>
  parseRouteTrace(
    [
      ...Array.from({ length: layers }, (_, layer) => `# layer=${layer} expert_bytes=10`),
      "phase,step,layer,slot,expert",
      ...tokens.flatMap((token, step) =>
        token.flatMap((experts, layer) => experts.map((expert, rank) => `1,${step},${layer},${rank},${expert}`)),
      ),
    ].join("\n"),
  );

/** One layer, one expert a token. */
const single = (experts: readonly number[]) =>
  routes(
    1,
    experts.map((expert) => [[expert]]),
  );

test.each([
  // Worked by hand, 2 slots: what hits.
  ["LRU", () => new Lru(), [0, 1, 0, 2, 0, 1], 2], // 0, then 0 again; 2 evicts 1
  ["LRU", () => new Lru(), [0, 1, 2, 0, 1, 2], 0],
  ["LFU", () => new Lfu(), [0, 0, 1, 2, 0, 2, 1], 3], // 0 thrice; 2 stays for 1 goes first
  ["LFU", () => new Lfu(), [0, 1, 2, 1], 1], // all once: the least recent goes
  ["ARC", () => new Arc(), [0, 0, 1, 2, 3, 0], 2], // what was used twice survives a scan
] as const)("%s, worked by hand", (_, policy, experts, hits) => {
  const trace = single(experts);
  expect(replay(trace, eventsOf(trace), new PolicyCache(trace, 2, policy())).decode).toMatchObject({
    hits,
    misses: experts.length - hits,
  });
});

test("Belady keeps what comes next, and not even what was just brought", () => {
  const trace = single([0, 1, 2, 0, 1, 2]);
  const events = eventsOf(trace);
  expect(replay(trace, events, new Belady(events, 2)).decode.hits).toBe(2);
  // With one slot, 0 stays while 1, 2 and 3 pass.
  const passing = single([0, 1, 0, 2, 0, 3, 0]);
  const passed = eventsOf(passing);
  expect(replay(passing, passed, new Belady(passed, 1)).decode.hits).toBe(3);
});

test("no choice of what to keep has more hits than Belady", () => {
  const wants = fc.uniqueArray(fc.nat({ max: 4 }), { minLength: 1, maxLength: 2 });
  const tokens = fc.array(wants, { minLength: 3, maxLength: 9, size: "max" });
  fc.assert(
    fc.property(tokens, fc.integer({ min: 1, max: 3 }), (tokens, slots) => {
      const trace = routes(
        1,
        tokens.map((experts) => [experts]),
      );
      const events = eventsOf(trace);
      expect(replay(trace, events, new Belady(events, slots)).decode.hits).toBe(mostHits(tokens, slots));
    }),
    { numRuns: 300, seed: 20261124 },
  );
});

/** By trying everything: sets are bits. */
function mostHits(tokens: readonly (readonly number[])[], slots: number): number {
  const bits = (set: number) => [0, 1, 2, 3, 4].filter((id) => set & (1 << id)).length;
  let best = new Map([[0, 0]]);
  for (const experts of tokens) {
    const wanted = experts.reduce((set, id) => set | (1 << id), 0);
    const after = new Map<number, number>();
    for (const [held, hits] of best)
      for (let kept = 0; kept < 32; kept++)
        if ((kept & ~(held | wanted)) === 0 && bits(kept) <= slots)
          after.set(kept, Math.max(after.get(kept) ?? 0, hits + bits(held & wanted)));
    best = after;
  }
  return Math.max(...best.values());
}

test("each layer has its share under per-layer LRU", () => {
  const trace = routes(
    2,
    [0, 1, 2, 3].map((step) => [[step % 2], [step]]),
  );
  const cache = new PolicyCache(trace, 3, new PerLayerLru(trace));
  expect(replay(trace, eventsOf(trace), cache).decode).toEqual({ hits: 2, misses: 6, bytes: 60, tokens: 4 });
});

describe("a prompt is served by segments, layer by layer, and its last 16 tokens count as uses:", () => {
  // 20 tokens, two layers of 24 experts: token t wants t in layer 0 and 23 - t in layer 1; the last 4 lie in a second segment.
  const rows = (withSegments: boolean) =>
    Array.from({ length: 20 }, (_, t) =>
      [t, 23 - t].map((expert, layer) => `0,${t},${layer},0,${expert}${withSegments ? `,${t < 16 ? 0 : 1}` : ""}`),
    ).flat();
  const head = "# n_layer=2 n_expert=24 n_expert_used=1\nphase,step,layer,slot,expert";
  const shown = (trace: RouteTrace) =>
    eventsOf(trace).map(({ layer, tokens, wanted, needed }) => ({ layer, tokens, wanted, needed }));
  const count = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

  test("ours, which names them", () => {
    expect(shown(parseRouteTrace([`${head},segment`, ...rows(true)].join("\n")))).toEqual([
      { layer: 0, tokens: 16, wanted: count(4, 15), needed: count(0, 15) },
      { layer: 1, tokens: 0, wanted: count(32, 43), needed: count(32, 47) },
      { layer: 0, tokens: 4, wanted: count(16, 19), needed: count(16, 19) },
      { layer: 1, tokens: 0, wanted: count(28, 31), needed: count(28, 31) },
    ]);
  });

  test("another's, which is one, in the order of last use", () => {
    expect(shown(parseRouteTrace([head, ...rows(false)].join("\n")))).toEqual([
      { layer: 0, tokens: 20, wanted: count(4, 19), needed: count(0, 19) },
      { layer: 1, tokens: 0, wanted: count(28, 43).reverse(), needed: count(28, 47).reverse() },
    ]);
  });
});

test("what cannot all be held is brought in turns, and the last stay", () => {
  const prompt = [0, 1, 2, 3].map((expert) => `0,${expert},0,0,${expert},0`);
  const trace = parseRouteTrace(
    [
      "# n_expert=5 n_expert_used=1\nphase,step,layer,slot,expert,segment",
      ...prompt,
      "1,4,0,0,2,0",
      "1,5,0,0,0,0",
    ].join("\n"),
  );
  const { prefill, decode } = replay(trace, eventsOf(trace), new PolicyCache(trace, 2, new Lru()));
  expect(prefill).toEqual({ hits: 0, misses: 4, bytes: 0, tokens: 4 });
  expect(decode).toEqual({ hits: 1, misses: 1, bytes: 0, tokens: 2 });
});

test("the engine's counters on a run are the replay of its trace", async () => {
  const conditions = fc.constantFrom(...SHAPES).chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      slots: fc.integer({ min: shape.top, max: shape.layers * shape.experts }),
      prompt: fc.integer({ min: 1, max: 55 }),
      generate: fc.integer({ min: 2, max: 20 }),
      chunk: fc.constantFrom(1, 3, 7, 16, 40),
      mode: fc.constantFrom("auto", "optimistic", "grouped"),
      readsAtOnce: fc.integer({ min: 1, max: 4 }),
      delays: fc.array(fc.nat({ max: 20 }), { maxLength: 5 }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(conditions, async (given) => {
      const { pool, trace } = await conversation({ ...given, taps: "routes" });
      const recorded = parseRouteTrace(trace!.csv());
      const cache = new PolicyCache(recorded, pool.slots.count, new ExpectedUse(recorded));
      const replayed = replay(recorded, eventsOf(recorded), cache);
      for (const phase of ["prefill", "decode"] as const) {
        const { hits, misses, uploads, uploadedBytes, tokens } = pool[phase];
        expect({ hits, misses, bytes: uploadedBytes, tokens }).toEqual(replayed[phase]);
        expect(uploads).toBe(misses);
      }
    }),
    { numRuns: 150, seed: 20261124 },
  );
});
