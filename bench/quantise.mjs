/**
 * `node bench/quantise.mjs [--millions 8]`: measures, in headless Chromium, how many milliseconds a
 * worker takes to quantise a million weights from bf16, as it does while they are downloaded, to
 * the recipe's 4 and 8 bits.
 */
import { parseArgs } from "node:util";
import { median, openPage } from "./chromium_page.mjs";

const { values } = parseArgs({ options: { millions: { type: "string", default: "8" } } });
const { page, close } = await openPage();
const rows = await page.evaluate(async (millions) => {
  const code = `
    const { quantizeRows } = await import("${location.origin}/src/format/quantize.ts");
    const { decodeFloats } = await import("${location.origin}/src/format/floats.ts");
    const [columns, count] = [2048, 1 << 20];
    const published = new Uint8Array(2 * count);
    const numbers = new Uint16Array(published.buffer);
    for (let i = 0; i < count; i++) numbers[i] = (Math.imul(i, 2654435761) >>> 16 & 0x80ff) | 0x3c00;
    const rows = [];
    for (const bits of [4, 8]) {
      const times = [];
      for (let round = 0; round < ${millions} + 2; round++) {
        const began = performance.now();
        const values = decodeFloats("bf16", published);
        quantizeRows(values, columns, { kind: "affine", bits, group: 64, scales: "bf16" });
        if (round >= 2) times.push((1e6 / count) * (performance.now() - began));
      }
      rows.push({ bits, times });
    }
    postMessage(rows);`;
  const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
  return await new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
}, Number(values.millions));
await close();
console.log("| bits | ms per million weights, median |\n| --- | --- |");
for (const { bits, times } of rows) console.log(`| ${bits} | ${median(times).toFixed(1)} |`);
