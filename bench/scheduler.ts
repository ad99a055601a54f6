import { Pool } from "../src/experts/pool.ts";
import { runQueued, runSegment } from "../src/experts/step.ts";
import { drawRoutes, type Habits, routeOf } from "../test/support/drawn_routes.ts";
import { FakeSlots, fakePlan } from "../test/support/fake_device.ts";
import { type Geometry, MIXTRAL_8X7B, QWEN3_30B_A3B, recordBytes } from "../test/support/synthetic_model.ts";

interface Case {
  readonly name: string;
  readonly geometry: Geometry;
  readonly habits: Habits;
  readonly slots: readonly number[];
}

const CASES: readonly Case[] = [
  {
    name: "Mixtral-8x7B",
    geometry: MIXTRAL_8X7B,
    habits: { repeat: 0.3, skew: 0.7 },
    slots: [64, 128, 192, 240, 256],
  },
  {
    name: "Qwen3-30B-A3B",
    geometry: QWEN3_30B_A3B,
    habits: { repeat: 0.4, skew: 1 },
    slots: [384, 768, 1536, 3072, 5530, 6144],
  },
];

const WARM_UP_TOKENS = 200;
/** The size of what is read in place of a record. */
const TINY_BYTES = 16;

const COLUMNS = [
  "experts",
  "slots",
  "guesses",
  "hit rate",
  "hit-only tokens: us (p95)",
  "tokens with misses: us (p95)",
  "passes = 1 + layers missing + cuts",
  "records per token",
  "(1 - hit rate) x cycle",
  "MB per token",
];

/**
 * Prints a row for each geometry and number of slots. `tokens` are measured, after WARM_UP_TOKENS
 * that are not.
 */
export async function bench(tokens: number): Promise<void> {
  console.log(`| ${COLUMNS.join(" | ")} |\n|${" --- |".repeat(COLUMNS.length)}`);
  for (const given of CASES)
    for (const slots of given.slots)
      for (const prefetch of [false, true])
        if (!prefetch || slots < given.slots.at(-1)!) console.log(await row(given, slots, tokens, prefetch));
}

async function row({ name, geometry, habits }: Case, slotCount: number, tokens: number, prefetch: boolean) {
  const { layers, experts, top } = geometry;
  const slots = new FakeSlots(slotCount, TINY_BYTES, layers, experts);
  const routes = drawRoutes(geometry, WARM_UP_TOKENS + tokens, habits);
  const read = async (
    _layer: number,
    _expert: number,
    accept: (offset: number, b: Uint8Array<ArrayBuffer>) => void,
  ) => {
    accept(0, new Uint8Array(TINY_BYTES));
    return "memory" as const;
  };
  const pool = new Pool(slots, Array(layers).fill({ experts, top }), read, { prefetch });
  const step = { seq: 0, tokens: new Uint32Array(1), sample: null };

  const all = routeOf(Array(experts).keys(), experts);
  const prompt = fakePlan("many", 16, slots, () => all);
  await runSegment([{ plan: prompt, step: { ...step, position: 0, count: 1, marked: 0 } }], pool);

  const plan = fakePlan("one", 1, slots, (position, layer) => routes[position % routes.length]![layer]!, {
    guesses: prefetch,
  });
  const times: Record<"hit" | "miss", number[]> = { hit: [], miss: [] };
  let missing = 0;
  let written = slots.writtenBytes;
  let before = pool.decode.copy();
  for (let position = 0; position < WARM_UP_TOKENS + tokens; position++) {
    if (position === WARM_UP_TOKENS) {
      [missing, written, before] = [0, slots.writtenBytes, pool.decode.copy()];
      times.hit.length = times.miss.length = 0;
    }
    const chunk = { plan, step: { ...step, position, count: 1, marked: 1 } };
    const spent = plan.spent.ms;
    const began = performance.now();
    const queued = pool.mode === "queued";
    if (queued) await runQueued(chunk, pool);
    const stalled = queued ? 0 : (await runSegment([chunk], pool))[0]!.passes.size;
    const us = 1000 * (performance.now() - began - (plan.spent.ms - spent));
    missing += stalled;
    times[stalled === 0 ? "hit" : "miss"].push(us);
  }
  await pool.quiet();

  const { hits, misses, passes } = pool.decode.since(before);
  const records = (slots.writtenBytes - written) / TINY_BYTES / tokens;
  const cuts = passes / tokens - 1 - missing / tokens;
  return `| ${[
    `${name} ${layers} x ${experts}, top ${top}`,
    `${slotCount} of ${layers * experts}`,
    prefetch ? "yes" : "no",
    `${((100 * hits) / (hits + misses)).toFixed(1)} %`,
    timing(times.hit),
    timing(times.miss),
    `${(passes / tokens).toFixed(1)} = 1 + ${(missing / tokens).toFixed(1)} + ${cuts.toFixed(1)}`,
    records.toFixed(1),
    ((misses / (hits + misses)) * layers * top).toFixed(1),
    ((records * recordBytes(geometry)) / 1e6).toFixed(0),
  ].join(" | ")} |`;
}

/** The median, the 95th percentile, and how many there are. */
function timing(us: readonly number[]): string {
  if (us.length === 0) return "none";
  const sorted = us.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * (sorted.length - 1))]!.toFixed(0);
  return `${at(0.5)} (${at(0.95)}), ${us.length} tokens`;
}
