/**
 * `npm test`: finds or installs a Chromium, then runs lint and types, Vitest (Node and Chromium),
 * the builds, and Playwright. Shaders run on one core for the most part, so they have a lane of
 * their own beside all the rest; what it prints comes last. The last line counts the tests of all.
 * `--all` (`npm run test:all`): with what takes too long for every change.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findChromium } from "./chromium.mjs";

const results = mkdtempSync(join(tmpdir(), "mixtab-test-"));
const report = (name) => join(results, `${name}.json`);

/**
 * Runs a command to its end and returns whether it succeeded. If `quiet`, what it prints is printed
 * at its end, so that others may run beside it.
 */
async function run(command, args, { env = {}, quiet = false } = {}) {
  const title = `\n$ ${command} ${args.join(" ")}`;
  const log = join(results, "quiet.log");
  const out = quiet ? openSync(log, "w") : "inherit";
  if (!quiet) console.log(title);
  const child = spawn(command, args, { stdio: ["ignore", out, out], env: { ...process.env, ...env } });
  const status = await new Promise((resolve) => child.on("error", () => resolve(1)).on("close", resolve));
  if (quiet) console.log(`${title}\n${readFileSync(log, "utf8")}`);
  return status === 0;
}

/** Installs Playwright's own Chromium if it may be downloaded, else the system's package. */
async function installChromium() {
  console.log("No Chromium found (CHROME_PATH, PATH, Playwright's own): installing one.");
  if ((await run("npx", ["playwright", "install", "--with-deps", "chromium"])) && findChromium()) return;
  const packages = ["chromium", "libvulkan1"];
  const isInstalled =
    (await run("apt-get", ["update", "-qq"])) && (await run("apt-get", ["install", "-y", "-qq", ...packages]));
  if (isInstalled && findChromium()) return;
  throw new Error("No Chromium could be installed. Install one and set CHROME_PATH to its executable.");
}

/** The counts of a runner's JSON report. A runner that wrote no report counts as one failure. */
function count(name, read) {
  try {
    return read(JSON.parse(readFileSync(report(name), "utf8")));
  } catch {
    return { passed: 0, failed: 1 };
  }
}

const ofVitest = (found) => ({ passed: found.numPassedTests, failed: found.numFailedTests });
const ofPlaywright = ({ stats }) => ({ passed: stats.expected + stats.flaky, failed: stats.unexpected });

/** Vitest's arguments for one of its projects. */
const vitest = (project) => [
  ...["vitest", "run", "--project", project],
  ...["--reporter=default", "--reporter=json", `--outputFile.json=${report(project)}`],
];

if (process.argv.includes("--all")) process.env.MIXTAB_ALL = "1";
if (!findChromium()) await installChromium();

/** All but the shaders, one after the other. */
async function theRest() {
  return [
    await run("npm", ["run", "--silent", "lint"]),
    await run("npx", vitest("node")),
    await run("npm", ["run", "--silent", "build"]),
    await run("npx", ["playwright", "test", "--reporter=list,json"], {
      env: { PLAYWRIGHT_JSON_OUTPUT_NAME: report("page") },
    }),
  ];
}

const lanes = await Promise.all([theRest(), run("npx", vitest("gpu"), { quiet: true })]);
const counts = [count("node", ofVitest), count("gpu", ofVitest), count("page", ofPlaywright)];
const total = (of) => counts.reduce((sum, each) => sum + each[of], 0);
rmSync(results, { recursive: true });
console.log(`\n${total("passed")} passed, ${total("failed")} failed`);
process.exitCode = lanes.flat().every(Boolean) ? 0 : 1;
