import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "vite";

/**
 * Calls `use` with what bench/NAME.ts exports. The file is bundled for Node first, without wrappers
 * that would distort times.
 */
export async function withBundle(name, use) {
  const outDir = mkdtempSync(join(tmpdir(), "mixtab-bench-"));
  try {
    await build({
      root: join(import.meta.dirname, ".."),
      configFile: false,
      publicDir: false,
      logLevel: "warn",
      build: {
        ssr: `bench/${name}.ts`,
        outDir,
        emptyOutDir: true,
        target: "node20",
        rollupOptions: { output: { entryFileNames: `${name}.mjs` } },
      },
    });
    await use(await import(pathToFileURL(join(outDir, `${name}.mjs`)).href));
  } finally {
    rmSync(outDir, { recursive: true });
  }
}
