/** For benchmarks: a page in headless Chromium that can import this project's sources. */
import { join } from "node:path";
import { chromium } from "playwright";
import { createServer } from "vite";
import { CHROMIUM_FLAGS, findChromium } from "../test/support/chromium.mjs";

/** Opens the page. `close` ends the browser and the server. */
export async function openPage() {
  const root = join(import.meta.dirname, "..");
  const server = await createServer({
    configFile: false,
    root,
    logLevel: "error",
    appType: "mpa",
    server: { port: 0, hmr: false, watch: null },
  });
  await server.listen();
  const browser = await chromium.launch({ executablePath: findChromium(), args: CHROMIUM_FLAGS });
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(error));
  await page.goto(`http://localhost:${server.httpServer.address().port}/bench/page.html`);
  return {
    page,
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

/** The median of some numbers. */
export const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
