/**
 * `npm run test:faults -- [--part NAME]... [--cases 100000] [--kills 200] [--damage 20] [--outages 2000]
 * [--seed 1]`: whatever may go wrong around mixtab, on purpose. Each case must end in the right
 * bytes and the undisturbed answer, or in a MixtabError. Prints figures per part, and what went
 * wrong; a case's number is its seed, by which it is found again (`--seed N --cases 1`).
 *
 * Parts: `headers`, `indexes`, `configs`, `weights`, `tokenizers`, `templates`, `answers`, `loads` share
 * `--cases` (inputs and HTTP answers); `damage` and `outages` run in Node too; `kills` and
 * `damage-browser` need a Chromium and `npm run build:lib`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "vite";
import { damageBrowser, killBrowser } from "./kills.mjs";

const { values } = parseArgs({
  options: {
    part: { type: "string", multiple: true, default: [] },
    cases: { type: "string", default: "100000" },
    kills: { type: "string", default: "200" },
    damage: { type: "string", default: "20" },
    outages: { type: "string", default: "2000" },
    seed: { type: "string", default: "1" },
  },
});
const seed = Number(values.seed);
const MOST_SHOWN = 10;

/** The Node parts, bundled: Node runs no TypeScript. */
async function loadParts(outDir) {
  await build({
    root: join(import.meta.dirname, "../.."),
    configFile: false,
    publicDir: false,
    logLevel: "warn",
    ssr: { noExternal: true },
    build: {
      ssr: "test/faults/parts.ts",
      outDir,
      emptyOutDir: true,
      target: "node20",
      rollupOptions: { output: { entryFileNames: "parts.mjs" } },
    },
  });
  return await import(pathToFileURL(join(outDir, "parts.mjs")).href);
}

let failed = false;

function show(line, wrong) {
  console.log(line);
  for (const what of wrong.slice(0, MOST_SHOWN)) console.log(`  ${what}`);
  failed ||= wrong.length > 0;
}

async function timed(name, work) {
  const began = performance.now();
  const { line, wrong } = await work();
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  const peak = (process.resourceUsage().maxRSS / 1000).toFixed(0);
  show(`${name}: ${line}; ${seconds} s, peak ${peak} MB`, wrong);
}

const outDir = mkdtempSync(join(tmpdir(), "mixtab-faults-"));
try {
  const { INPUTS, OTHERS, numbers, smallFiles } = await loadParts(outDir);
  const counts = { damage: Number(values.damage) * 10, outages: Number(values.outages) };
  const inNode = (run, cases) => async () => {
    const tally = await run(cases, seed);
    return { line: String(tally), wrong: tally.wrong };
  };
  const parts = {
    ...Object.fromEntries(
      Object.entries(INPUTS).map(([name, { run, share }]) => [
        name,
        inNode(run, Math.ceil(Number(values.cases) * share)),
      ]),
    ),
    ...Object.fromEntries(Object.entries(OTHERS).map(([name, run]) => [name, inNode(run, counts[name])])),
    kills: async () => {
      const { kills, wholeMs, wrong } = await killBrowser(await smallFiles(), Number(values.kills), numbers(seed));
      return {
        line: `${kills} kills, both stores at once, of visits of ${wholeMs.toFixed(0)} ms; wrong: ${wrong.length}`,
        wrong,
      };
    },
    "damage-browser": async () => {
      const { cases, noticed, wrong } = await damageBrowser(await smallFiles(), Number(values.damage));
      return { line: `${cases} visits, ${noticed} damaged records noticed; wrong: ${wrong.length}`, wrong };
    },
  };
  for (const name of values.part)
    if (!(name in parts)) throw new Error(`There is no part ${name}; there are ${Object.keys(parts).join(", ")}.`);
  for (const name of values.part.length > 0 ? values.part : Object.keys(parts)) await timed(name, parts[name]);
} finally {
  rmSync(outDir, { recursive: true });
}
process.exit(failed ? 1 : 0);
