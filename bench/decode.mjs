/**
 * `node bench/decode.mjs [--tokens 60] [--rounds 5]`: runs the story model in headless Chromium
 * with all experts in memory, with half and a quarter of them, and with A slots, with and without
 * prefetch. In each round every condition gives the same answer, one after the other. Prints
 * medians over the rounds.
 */
import { parseArgs } from "node:util";
import { median, openPage } from "./chromium_page.mjs";

const { values } = parseArgs({
  options: { tokens: { type: "string", default: "60" }, rounds: { type: "string", default: "5" } },
});
const { page, close } = await openPage();
const rows = await page.evaluate(
  async ({ tokens, rounds }) => {
    const { createEngine } = await import("/src/index.ts");
    const model = new URL("/demo/public/models/storyteller-moe/", location.href).href;
    const conditions = [
      ["all resident", {}],
      ["all resident, one by one", { mode: "optimistic" }],
      ["all resident, prefetch", { prefetch: true }],
      ["50 %", { slots: 20 }],
      ["50 %, prefetch", { slots: 20, prefetch: true }],
      ["25 %", { slots: 10 }],
      ["25 %, prefetch", { slots: 10, prefetch: true }],
      ["A slots", { slots: 2 }],
      ["A slots, prefetch", { slots: 2, prefetch: true }],
    ];
    const engines = [];
    for (const [name, { slots, ...options }] of conditions) {
      let done;
      const filled = new Promise((resolve) => {
        done = resolve;
      });
      const engine = await createEngine(model, {
        ...options,
        onProgress: ({ phase, warning }) => (phase === "done" || warning) && done(),
      });
      if (slots) await engine.setBudget(slots * engine.info.recordBytes);
      await filled;
      engines.push({ name, engine, rounds: [] });
    }
    const answer = async (engine) => {
      const messages = [{ role: "user", content: "Tell me a story about a dog and a red ball." }];
      const chunks = await engine.chat.completions.create({
        messages,
        stream: true,
        stream_options: { include_usage: true },
        temperature: 1,
        seed: 7,
        max_tokens: tokens,
      });
      let first;
      let last;
      let text = "";
      let usage;
      for await (const chunk of chunks) {
        if (chunk.choices[0]?.delta.content) {
          first ??= performance.now();
          last = performance.now();
          text += chunk.choices[0].delta.content;
        }
        usage = chunk.usage ?? usage;
      }
      return { text, ms: last - first, decode: usage.mixtab.decode };
    };
    for (let round = -1; round < rounds; round++)
      for (const entry of engines) {
        const result = await answer(entry.engine);
        if (round >= 0) entry.rounds.push(result);
      }
    const rows = [];
    for (const { name, engine, rounds: results } of engines) {
      const { recall, mode } = await engine.stats();
      rows.push({
        name,
        results,
        recall,
        mode,
        info: engine.info,
        same: results.every(({ text }) => text === engines[0].rounds[0].text),
      });
    }
    return rows;
  },
  { tokens: Number(values.tokens), rounds: Number(values.rounds) },
);
await close();

const { layers, top, recordBytes } = rows[0].info;
const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
console.log(
  "| pool | mode | tokens/s | hit rate | passes per token | 1 + layers with a miss | read per token | (1 - hit rate) x cycle | prefetched: useful, wasted, late |",
);
console.log("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
for (const { name, results, mode } of rows) {
  const speed = median(results.map(({ ms, decode }) => (1000 * decode.tokens) / ms));
  const { tokens, hits, misses, passes, stalls, uploadedBytes, ...rest } = results.at(-1).decode;
  const rate = hits / (hits + misses);
  const ahead = [rest.usefulPrefetchBytes, rest.wastedPrefetchBytes, rest.latePrefetchBytes].map((bytes) =>
    Math.round(bytes / recordBytes),
  );
  console.log(
    `| ${name} | ${mode} | ${speed.toFixed(1)} | ${(100 * rate).toFixed(1)} % | ${(passes / tokens).toFixed(2)} | ${(1 + stalls / tokens).toFixed(2)} | ${kB(uploadedBytes / tokens)} | ${kB((1 - rate) * layers * top * recordBytes)} | ${rest.prefetches > 0 ? ahead.join(", ") : ""} |`,
  );
}
for (const { name, recall } of rows)
  if (recall.length > 0)
    console.log(
      `${name}: recall of the guess, by layer: ${recall.map((value) => `${(100 * value).toFixed(0)} %`).join(", ")}`,
    );
console.log(rows.every(({ same }) => same) ? "All answers are the same." : "ANSWERS DIFFER");
process.exitCode = rows.every(({ same }) => same) ? 0 : 1;
