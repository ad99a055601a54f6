/**
 * `node bench/store.mjs [--rounds 9] [--sizes 1,3,16,99] [--slices 1,8,16]`: measures how fast
 * verified records are read through each Store, in a worker of headless Chromium whose profile is
 * on disk, beside plain `blob.arrayBuffer()` of the same records, which takes turns with it. Prints
 * MB/s (10^6 bytes) as medians over rounds; the ratio is the median of the rounds' ratios.
 * `--slices` also measures the same reader with slices of so many MiB. Fails if a ratio is under
 * 0.8.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright";
import { build } from "vite";
import { CHROMIUM_FLAGS, findChromium } from "../test/support/chromium.mjs";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "9" },
    sizes: { type: "string", default: "1,3,16,99" },
    slices: { type: "string", default: "" },
  },
});
const numbers = (list) => (list === "" ? [] : list.split(",").map(Number));
/**
 * For each size there are about so many megabytes of records. With several records, no read finds
 * its own bytes still in a cache of the processor.
 */
const MEGABYTES_AT_ONCE = 100;

const bundle = await build({
  root: join(import.meta.dirname, ".."),
  configFile: false,
  publicDir: false,
  logLevel: "warn",
  build: { write: false, lib: { entry: "bench/store.ts", formats: ["es"] } },
});
const script = [bundle].flat()[0].output[0].code;

const server = createServer((request, response) => {
  const type = request.url === "/store.js" ? "text/javascript" : "text/html";
  response
    .setHeader("content-type", type)
    .end(request.url === "/store.js" ? script : "<!doctype html><title>store</title>");
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const profile = mkdtempSync(join(tmpdir(), "mixtab-bench-"));
let context;

const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];

/** Prints one row of the table and returns its ratio. */
async function row(page, place, megabytes) {
  const records = Math.max(3, Math.min(32, Math.round(MEGABYTES_AT_ONCE / megabytes)));
  const request = { place, megabytes, records, rounds: Number(values.rounds), slices: numbers(values.slices) };
  const { result, error } = await page.evaluate(
    (message) =>
      new Promise((resolve) => {
        const worker = new Worker("/store.js", { type: "module" });
        worker.onmessage = ({ data }) => {
          worker.terminate();
          resolve(data);
        };
        worker.onerror = ({ message: what }) => resolve({ error: what });
        worker.postMessage(message);
      }),
    request,
  );
  if (error) throw new Error(error);
  const { rates, once } = result;
  const { raw, store, ...others } = rates;
  const ratioOf = (list) => median(list.map((rate, i) => rate / raw[i]));
  const ratio = ratioOf(store);
  const cells = [
    place,
    `${megabytes} MB x ${records}`,
    median(raw).toFixed(0),
    median(store).toFixed(0),
    ratio.toFixed(2),
  ];
  cells.push(once.first.toFixed(0), once.put.toFixed(0));
  for (const list of Object.values(others)) cells.push(ratioOf(list).toFixed(2));
  console.log(`| ${cells.join(" | ")} |`);
  return ratio;
}

try {
  context = await chromium.launchPersistentContext(profile, { executablePath: findChromium(), args: CHROMIUM_FLAGS });
  const page = await context.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const heads = ["store", "records", "raw Blob", "Store.read", "ratio", "first read, hashed", "put, hashed"];
  heads.push(...numbers(values.slices).map((mib) => `ratio with ${mib} MiB`));
  console.log(`| ${heads.join(" | ")} |\n|${" --- |".repeat(heads.length)}`);
  const ratios = [];
  for (const place of ["indexeddb", "opfs"])
    for (const megabytes of numbers(values.sizes)) ratios.push(await row(page, place, megabytes));
  process.exitCode = Math.min(...ratios) >= 0.8 ? 0 : 1;
} finally {
  await context?.close();
  server.close();
  rmSync(profile, { recursive: true });
}
