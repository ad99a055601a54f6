/**
 * `npm test`: finds or installs a Chromium, then runs lint and types, Vitest (Node and Chromium),
 * the builds, and Playwright. Its last line counts the tests of both runners.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findChromium } from "./chromium.mjs";

const results = mkdtempSync(join(tmpdir(), "mixtab-test-"));
const vitestResults = join(results, "vitest.json");
const playwrightResults = join(results, "playwright.json");

/** Runs a command to its end and returns whether it succeeded. */
function run(command, args, env = {}) {
  console.log(`\n$ ${command} ${args.join(" ")}`);
  return spawnSync(command, args, { stdio: "inherit", env: { ...process.env, ...env } }).status === 0;
}

/** Installs Playwright's own Chromium if it may be downloaded, else the system's package. */
function installChromium() {
  console.log("No Chromium found (CHROME_PATH, PATH, Playwright's own): installing one.");
  if (run("npx", ["playwright", "install", "--with-deps", "chromium"]) && findChromium()) return;
  const packages = ["chromium", "libvulkan1"];
  if (run("apt-get", ["update", "-qq"]) && run("apt-get", ["install", "-y", "-qq", ...packages]) && findChromium())
    return;
  throw new Error("No Chromium could be installed. Install one and set CHROME_PATH to its executable.");
}

/** Reads the counts of a JSON report. A runner that wrote no report counts as one failure. */
function count(path, read) {
  try {
    return read(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return { passed: 0, failed: 1 };
  }
}

if (!findChromium()) installChromium();

const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${vitestResults}`];
const steps = [
  run("npm", ["run", "--silent", "lint"]),
  run("npx", ["vitest", "run", ...reporters]),
  run("npm", ["run", "--silent", "build"]),
  run("npx", ["playwright", "test", "--reporter=list,json"], { PLAYWRIGHT_JSON_OUTPUT_NAME: playwrightResults }),
];

const vitest = count(vitestResults, (report) => ({ passed: report.numPassedTests, failed: report.numFailedTests }));
const playwright = count(playwrightResults, ({ stats }) => ({
  passed: stats.expected + stats.flaky,
  failed: stats.unexpected,
}));
rmSync(results, { recursive: true });
console.log(`\n${vitest.passed + playwright.passed} passed, ${vitest.failed + playwright.failed} failed`);
process.exitCode = steps.every(Boolean) ? 0 : 1;
