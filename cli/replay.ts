/**
 * `npm run replay -- TRACE...`: prints which hit rates caches of experts would have had on recorded
 * conversations, for several policies and the optimum.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { MixtabError } from "../src/base/errors.ts";
import type { Shape } from "../src/experts/policy.ts";
import { ExpectedUse, type Policy } from "../src/experts/policy.ts";
import { Arc, Belady, Lfu, Lru, PerLayerLru } from "./replay/baselines.ts";
import { type Curve, drawCurves } from "./replay/curves.ts";
import { type Event, type ExpertCache, eventsOf, PolicyCache, type Replayed, replay } from "./replay/replay.ts";
import { type RouteTrace, readRouteTrace } from "./route_trace.ts";
import { formatBytes, runCommand } from "./shell.ts";

const USAGE = `npm run replay -- TRACE... [--slots N,... | --cycles N,...] [--policies NAME,...] [--record-bytes N] [--phase decode|prefill] [--html FILE]

TRACE: a CSV as engine.trace() writes it, or one of BigMoeOnEdge's, gzipped or not. The cache is empty before the prompt, which is replayed too (as one segment where
the trace does not name segments); counted are generated tokens, or with --phase prefill those of the prompt. A cycle is the experts of one token, layers x
experts per token; default: --cycles 0.5,1,2,4,6,8. --record-bytes overrides the sizes that the trace gives.
Policies: mixtab (ours), lru, lfu, layer-lru, arc, belady (knows the future: the optimum).`;

type MakeCache = (shape: RouteTrace, slots: number, events: readonly Event[]) => ExpertCache;

const pooled =
  (makePolicy: (shape: Shape) => Policy): MakeCache =>
  (shape, slots) =>
    new PolicyCache(shape, slots, makePolicy(shape));

const CACHES: ReadonlyMap<string, MakeCache> = new Map([
  ["mixtab", pooled((shape) => new ExpectedUse(shape))],
  ["lru", pooled(() => new Lru())],
  ["lfu", pooled(() => new Lfu())],
  ["layer-lru", pooled((shape) => new PerLayerLru(shape))],
  ["arc", pooled(() => new Arc())],
  ["belady", (_, slots, events) => new Belady(events, slots)],
]);

await runCommand(async (args) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      slots: { type: "string" },
      cycles: { type: "string", default: "0.5,1,2,4,6,8" },
      policies: { type: "string", default: [...CACHES.keys()].join(",") },
      "record-bytes": { type: "string" },
      phase: { type: "string", default: "decode" },
      html: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (positionals.length === 0) throw new MixtabError("bad-request", `No trace is named.\n${USAGE}`);
  const { phase } = values;
  if (phase !== "decode" && phase !== "prefill")
    throw new MixtabError("bad-request", `--phase is decode or prefill, not ${phase}.`);
  const names = values.policies.split(",");
  for (const name of names)
    if (!CACHES.has(name))
      throw new MixtabError("bad-request", `There is no policy ${name}. There are ${[...CACHES.keys()].join(", ")}.`);

  const bytes = values["record-bytes"] === undefined ? null : numbers(values["record-bytes"], "--record-bytes")[0]!;
  const curves: Curve[] = [];
  for (const path of positionals) {
    const trace = await readRouteTrace(path);
    const cycle = trace.layers * trace.top;
    const counts = values.slots
      ? numbers(values.slots, "--slots").map(Math.floor)
      : numbers(values.cycles, "--cycles").map((cycles) => Math.round(cycles * cycle));
    const least = counts.find((slots) => slots < trace.top);
    if (least !== undefined)
      throw new MixtabError(
        "bad-request",
        `${least} slots are fewer than the ${trace.top} experts of a token. Give more.`,
      );
    const rows = replayAll(trace, names, counts);
    print(path, trace, rows, counts, phase, bytes);
    for (const { name, results } of rows)
      curves.push({
        trace: path,
        policy: name,
        points: results.map((result, index) => ({ x: counts[index]! / cycle, y: hitRate(result, phase) })),
      });
  }
  if (values.html !== undefined) {
    await writeFile(values.html, drawCurves(curves)).catch((error) => {
      throw new MixtabError(
        "bad-request",
        `${values.html} cannot be written. Name a file in a folder that is there.`,
        error,
      );
    });
    console.log(`The curves are in ${values.html}.`);
  }
  return 0;
});

interface Row {
  readonly name: string;
  readonly results: readonly Replayed[];
}

function replayAll(trace: RouteTrace, names: readonly string[], counts: readonly number[]): Row[] {
  const events = eventsOf(trace);
  return names.map((name) => ({
    name,
    results: counts.map((slots) => replay(trace, events, CACHES.get(name)!(trace, slots, events))),
  }));
}

type Phase = "decode" | "prefill";

function print(
  path: string,
  trace: RouteTrace,
  rows: readonly Row[],
  counts: readonly number[],
  phase: Phase,
  recordBytes: number | null,
): void {
  const { model, layers, experts, top } = trace;
  const tokens = rows[0]?.results[0]?.[phase].tokens ?? 0;
  if (tokens === 0)
    throw new MixtabError(
      "bad-request",
      `${path} has no ${phase === "decode" ? "generated tokens" : "prompt"} to count.`,
    );
  console.log(`${path}\n${model}: ${layers} layers, ${top} of ${experts} experts, ${tokens} ${phase} tokens`);
  const best = rows.find(({ name }) => name === "belady");
  const line = (title: string, cells: readonly string[]) =>
    console.log(`${title.padEnd(12)}${cells.map((cell) => cell.padStart(24)).join("")}`);
  line(
    "slots",
    counts.map((slots) => `${slots} (${(slots / layers / top).toFixed(2)} cycles)`),
  );
  for (const { name, results } of rows)
    line(
      name,
      results.map((result, index) => {
        const rate = hitRate(result, phase);
        const { misses, bytes } = result[phase];
        const known = recordBytes !== null || trace.recordBytes.some((size) => size > 0);
        const read = known ? formatBytes((recordBytes === null ? bytes : misses * recordBytes) / tokens) : "? B";
        const gap = best ? ` -${(hitRate(best.results[index]!, phase) - rate).toFixed(1)}` : "";
        return `${rate.toFixed(1)} %${gap} ${read}`;
      }),
    );
  console.log("hit rate, points below belady, bytes read per token\n");
}

function hitRate(result: Replayed, phase: Phase): number {
  const { hits, misses } = result[phase];
  return (100 * hits) / Math.max(1, hits + misses);
}

function numbers(list: string, option: string): number[] {
  return list.split(",").map((text) => {
    const value = Number(text);
    if (!(value > 0))
      throw new MixtabError("bad-request", `${option} takes positive numbers with commas, not "${list}".`);
    return value;
  });
}
