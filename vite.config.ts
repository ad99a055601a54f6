import { defineConfig } from "vite";

/** Three builds: `lib` (the package), `demo` (the chat page), `cli` (Node). Shaders reach all of them by `?raw`. */
export default defineConfig(({ mode }) => {
  if (mode === "lib")
    return {
      publicDir: false,
      build: {
        outDir: "dist/lib",
        lib: { entry: { mixtab: "src/index.ts", widget: "src/widget/index.ts" }, formats: ["es"] },
      },
      worker: { format: "es" },
    };
  if (mode === "cli")
    return {
      publicDir: false,
      build: {
        ssr: true,
        outDir: "dist/cli",
        target: "node20",
        rollupOptions: {
          input: ["check", "inspect", "chat", "perplexity", "replay", "analyse"].map((name) => `cli/${name}.ts`),
          external: ["webgpu"],
        },
      },
    };
  return {
    root: "demo",
    base: "./",
    appType: "mpa",
    build: { outDir: "../dist/demo", emptyOutDir: true },
    worker: { format: "es" },
    server: { port: 4173 },
    preview: { port: 4173 },
  };
});
