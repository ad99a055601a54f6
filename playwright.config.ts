import { defineConfig } from "@playwright/test";
import { CHROMIUM_FLAGS, findChromium } from "./test/support/chromium.mjs";

const executablePath = findChromium();

/** The built page and widget in a real Chromium, on its software adapter; one browser at a time. `npm run build` comes first. */
export default defineConfig({
  testDir: "test/e2e",
  outputDir: "test-results/e2e",
  globalSetup: "./test/e2e/built.ts",
  workers: 1,
  timeout: 90_000,
  expect: { timeout: 30_000 },
  forbidOnly: Boolean(process.env.CI),
  reporter: [["list"]],
  use: {
    viewport: { width: 1280, height: 800 },
    screenshot: "only-on-failure",
    launchOptions: {
      ...(executablePath ? { executablePath } : {}),
      args: [...CHROMIUM_FLAGS, "--host-resolver-rules=MAP mixtab.test 127.0.0.1"],
    },
  },
});
