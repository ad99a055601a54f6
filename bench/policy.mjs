/**
 * `node bench/policy.mjs [--tokens 400] [--sweep]`: what choosing victims costs per token, in microseconds of JavaScript, for 48 layers of 128 experts, 8 a token;
 * or hit rates on the recorded traces by the policy's two constants.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "vite";

const { values } = parseArgs({
  options: { tokens: { type: "string", default: "400" }, sweep: { type: "boolean", default: false } },
});
const outDir = mkdtempSync(join(tmpdir(), "mixtab-bench-"));
try {
  await build({
    root: join(import.meta.dirname, ".."),
    configFile: false,
    publicDir: false,
    logLevel: "warn",
    build: {
      ssr: "bench/policy.ts",
      outDir,
      emptyOutDir: true,
      target: "node20",
      rollupOptions: { output: { entryFileNames: "policy.mjs" } },
    },
  });
  const { bench, sweep } = await import(pathToFileURL(join(outDir, "policy.mjs")).href);
  if (values.sweep) await sweep(join(import.meta.dirname, "../test/fixtures/traces"));
  else bench(Number(values.tokens));
} finally {
  rmSync(outDir, { recursive: true });
}
