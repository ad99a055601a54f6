import { join } from "node:path";
import { eventsOf, PolicyCache, replay } from "../cli/replay/replay.ts";
import { readRouteTrace } from "../cli/route_trace.ts";
import { ExpectedUse } from "../src/experts/policy.ts";
import { Residency } from "../src/experts/residency.ts";
import { NONE } from "../src/ops/ops.ts";
import { drawRoutes } from "../test/support/drawn_routes.ts";
import { QWEN3_30B_A3B } from "../test/support/synthetic_model.ts";

const WARM_UP_TOKENS = 200;

/**
 * Prints a row for each number of slots. Only residency and policy run, on routes that are drawn at
 * random.
 */
export function bench(tokens: number): void {
  const shape = QWEN3_30B_A3B;
  const { layers, experts } = shape;
  const ids = drawRoutes(shape, WARM_UP_TOKENS + tokens, { repeat: 0.4, skew: 1 }).map((token) =>
    token.map((route, layer) => route.experts.map((expert) => layer * experts + expert)),
  );
  console.log("| slots | misses per token | us per token: median | p95 |\n| --- | --- | --- | --- |");
  for (const slots of [384, 768, 1536, 3072, 4608]) {
    const residency = new Residency(shape, slots, new ExpectedUse(shape));
    const times: number[] = [];
    let misses = 0;
    for (const [token, wanted] of ids.entries()) {
      const measured = token >= WARM_UP_TOKENS;
      const began = performance.now();
      for (let layer = 0; layer < layers; layer++) {
        residency.use(layer, wanted[layer]!);
        const missing = wanted[layer]!.filter((id) => residency.slotOf(id) === NONE);
        for (const id of missing) residency.settle(id, residency.reserve(id, (other) => missing.includes(other))!.slot);
        if (measured) misses += missing.length;
      }
      if (measured) times.push(1000 * (performance.now() - began));
    }
    times.sort((a, b) => a - b);
    const at = (share: number) => times[Math.floor(share * (times.length - 1))]!.toFixed(0);
    console.log(`| ${slots} | ${(misses / tokens).toFixed(0)} | ${at(0.5)} | ${at(0.95)} |`);
  }
}

const CYCLES = [0.5, 1, 2, 4, 6, 8];

/**
 * Prints the hit rates of generated tokens for several half-lives, each with and without the
 * addition for experts that the last token used.
 */
export async function sweep(folder: string): Promise<void> {
  for (const name of ["qwen", "gemma"]) {
    const trace = await readRouteTrace(join(folder, `${name}.route.csv.gz`));
    const events = eventsOf(trace);
    console.log(
      `\n| ${name}: half-life, again | ${CYCLES.join(" | ")} | mean |\n|${" --- |".repeat(CYCLES.length + 2)}`,
    );
    const constants = [4, 8, 12, 16, 20, 24, 32, 64].flatMap((halfLife) => [
      [halfLife, 0],
      [halfLife, 0.2],
    ]);
    for (const [halfLife, again] of [...constants, [16, 0.1], [16, 0.3]]) {
      const rates = CYCLES.map((cycles) => {
        const slots = Math.round(cycles * trace.layers * trace.top);
        const { hits, misses } = replay(
          trace,
          events,
          new PolicyCache(trace, slots, new ExpectedUse(trace, halfLife, again)),
        ).decode;
        return (100 * hits) / (hits + misses);
      });
      const mean = rates.reduce((sum, rate) => sum + rate) / rates.length;
      console.log(`| ${halfLife}, ${again} | ${[...rates, mean].map((rate) => rate.toFixed(1)).join(" | ")} |`);
    }
  }
}
