import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "playwright";

/**
 * Flags for WebGPU on a machine without a GPU, and for a browser that makes no network traffic of
 * its own.
 */
export const CHROMIUM_FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/**
 * The path of a Chromium: CHROME_PATH, one on PATH, or Playwright's own; undefined if there is
 * none.
 */
export function findChromium() {
  if (process.env.CHROME_PATH) return process.env.CHROME_PATH;
  for (const name of ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"])
    for (const folder of (process.env.PATH ?? "").split(delimiter))
      if (existsSync(join(folder, name))) return join(folder, name);
  const own = chromium.executablePath();
  return existsSync(own) ? own : undefined;
}
