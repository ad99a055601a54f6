import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";
import { CHROMIUM_FLAGS, findChromium } from "./test/support/chromium.mjs";

const path = findChromium();

/** `node`: everything that needs no GPU, on the CPU speaker. `gpu`: shaders in headless Chromium on its software adapter. */
export default defineConfig({
  test: {
    projects: [
      { test: { name: "node", include: ["test/unit/**/*.test.ts"], environment: "node", testTimeout: 60_000 } },
      {
        test: {
          name: "gpu",
          include: ["test/gpu/**/*.test.ts"],
          testTimeout: 240_000,
          fileParallelism: false,
          // Browsers read it as import.meta.env.MIXTAB_ALL.
          env: process.env.MIXTAB_ALL ? { MIXTAB_ALL: process.env.MIXTAB_ALL } : {},
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({
              launchOptions: { ...(path ? { executablePath: path } : {}), args: CHROMIUM_FLAGS },
            }),
            instances: [{ browser: "chromium" }],
          },
        },
      },
    ],
  },
});
