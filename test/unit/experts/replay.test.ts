import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { Arc, Belady, Lfu, Lru, PerLayerLru } from "../../../cli/replay/baselines.ts";
import { type Event, eventsOf, type Replayed, replay } from "../../../cli/replay/replay.ts";
import { parseRouteTrace, type RouteTrace, readRouteTrace } from "../../../cli/route_trace.ts";
import { ExpectedUse } from "../../../src/experts/policy.ts";
import { type Conditions, conversation, SHAPES } from "../../support/scheduler.ts";

const rate = ({ decode: { hits, misses } }: Replayed) => (100 * hits) / (hits + misses);

describe.each([
  // By trace: hit rates that were measured elsewhere (LRU), at 0.5, 1, 2, 4, 6 cycles.
  ["qwen", [0.0, 37.7, 47.7, 71.9, 86.4]],
  ["gemma", [0.0, 35.4, 47.4, 70.3, 82.2]],
] as const)("on the trace of %s", (name, lru) => {
  let trace: RouteTrace;
  let events: readonly Event[];
  const at = (cycles: number) => Math.round(cycles * trace.layers * trace.top);
  beforeAll(async () => {
    trace = await readRouteTrace(join(import.meta.dirname, `../../fixtures/traces/${name}.route.csv.gz`));
    events = eventsOf(trace);
  });

  test("LRU does as was measured elsewhere", () => {
    const found = [0.5, 1, 2, 4, 6].map((cycles) => rate(replay(trace, events, at(cycles), () => new Lru())));
    expect(found.map((value) => Number(value.toFixed(1)))).toEqual(lru);
  });

  test("ours is never below LRU - 0.5, nor farther from the optimum than the best that was known", () => {
    for (const cycles of [0.5, 1, 2, 3, 4, 6, 8]) {
      const ours = rate(replay(trace, events, at(cycles), (shape) => new ExpectedUse(shape)));
      const recent = rate(replay(trace, events, at(cycles), () => new Lru()));
      const best = rate(replay(trace, events, at(cycles), () => new Belady(events)));
      expect(ours).toBeGreaterThan(recent - 0.5);
      expect(ours).toBeGreaterThan(20);
      if (cycles === 2) expect(best - ours).toBeLessThanOrEqual(16.6);
      if (cycles === 6) expect(best - ours).toBeLessThanOrEqual(8.8);
    }
  });

  test("nothing does better than Belady", () => {
    const best = replay(trace, events, at(2), () => new Belady(events)).decode;
    for (const policy of [new Lfu(), new PerLayerLru(trace), new Arc()])
      expect(replay(trace, events, at(2), () => policy).decode.hits).toBeLessThan(best.hits);
  });
});

/** One layer, one expert a token: the experts of successive tokens. */
const single = (experts: readonly number[]) =>
  parseRouteTrace(
    ["phase,step,layer,slot,expert", ...experts.map((expert, step) => `1,${step},0,0,${expert}`)].join("\n"),
  );

test.each([
  // Worked by hand, 2 slots: what hits.
  ["LRU", () => new Lru(), [0, 1, 0, 2, 0, 1], 2], // 0, then 0 again; 2 evicts 1
  ["LRU", () => new Lru(), [0, 1, 2, 0, 1, 2], 0],
  ["LFU", () => new Lfu(), [0, 0, 1, 2, 0, 2, 1], 3], // 0 thrice; 2 stays for 1 goes first
  ["ARC", () => new Arc(), [0, 0, 1, 2, 3, 0], 2], // what was used twice survives a scan
] as const)("%s, worked by hand", (_, policy, experts, hits) => {
  const trace = single(experts);
  expect(replay(trace, eventsOf(trace), 2, policy).decode).toMatchObject({ hits, misses: experts.length - hits });
});

test("Belady keeps what comes next", () => {
  const trace = single([0, 1, 2, 0, 1, 2]);
  const events = eventsOf(trace);
  expect(replay(trace, events, 2, () => new Belady(events)).decode.hits).toBe(2);
});

test("each layer has its share under per-layer LRU", () => {
  const rows = [0, 1, 2, 3].flatMap((step) => [`1,${step},0,0,${step % 2}`, `1,${step},1,0,${step}`]);
  const trace = parseRouteTrace(["phase,step,layer,slot,expert", ...rows].join("\n"));
  const { decode } = replay(trace, eventsOf(trace), 3, () => new PerLayerLru(trace));
  expect(decode).toMatchObject({ hits: 2, misses: 6, tokens: 4 });
});

test("the engine's counters on a run are the replay of its trace", async () => {
  const conditions: Partial<Conditions>[] = [
    { slots: 6 },
    { slots: 3, chunk: 7, readsAtOnce: 3, delays: [2, 0, 5] },
    { slots: 2, chunk: 4, prompt: 58, delays: [1, 4] },
    { slots: 9, chunk: 16, prompt: 50, mode: "grouped" },
    { slots: 15, chunk: 40 },
    { slots: 4, chunk: 1, prompt: 41 },
  ];
  for (const given of conditions) {
    const shape = SHAPES[0]!;
    const { pool, trace } = await conversation({ shape, slots: 6, prompt: 33, generate: 20, ...given, taps: "routes" });
    const routes = parseRouteTrace(trace!.csv());
    const { prefill, decode } = replay(routes, eventsOf(routes), pool.slots.count, (of) => new ExpectedUse(of));
    const { hits, misses, uploadedBytes, uploads } = pool.decode;
    expect({ hits, misses, bytes: uploadedBytes, tokens: 19 }).toEqual(decode);
    expect(uploads).toBe(decode.misses);
    expect([pool.prefill.hits, pool.prefill.misses, pool.prefill.uploadedBytes]).toEqual([
      prefill.hits,
      prefill.misses,
      prefill.bytes,
    ]);
  }
});
