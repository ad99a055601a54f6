/**
 * `node bench/scheduler.mjs [--tokens 600]`: what the expert pool's bookkeeping costs per generated token, in microseconds of JavaScript, on a device that
 * computes nothing and reads that come at once; and passes and bytes per token, counted. Bundled first, as the package is.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "vite";

const { values } = parseArgs({ options: { tokens: { type: "string", default: "600" } } });
const outDir = mkdtempSync(join(tmpdir(), "mixtab-bench-"));
try {
  await build({
    root: join(import.meta.dirname, ".."),
    configFile: false,
    publicDir: false,
    logLevel: "warn",
    build: {
      ssr: "bench/scheduler.ts",
      outDir,
      emptyOutDir: true,
      target: "node20",
      rollupOptions: { output: { entryFileNames: "scheduler.mjs" } },
    },
  });
  const { bench } = await import(pathToFileURL(join(outDir, "scheduler.mjs")).href);
  await bench(Number(values.tokens));
} finally {
  rmSync(outDir, { recursive: true });
}
