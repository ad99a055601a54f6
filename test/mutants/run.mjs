/**
 * `npm run test:mutants -- [--room engine] [--sample 40] [--seed 1] [--file PART] [--jobs 2] [--far] [--list]`:
 * tests the tests. Makes one-line mutants of a room's sources, a seeded sample of them, runs for
 * each the room's own tests in Node, and prints how many were killed, and each that lived. Works in
 * copies; the working tree is never changed.
 *
 * A mutant that makes the tests take four times as long as they should counts as timed out, which
 * is noticed too. What works in a browser only meets its tests there. `--far`: what its room's
 * tests let live meets all others in Node that import its file. `--list` prints the sample and runs
 * nothing.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { mutantsOf } from "./mutants.mjs";

const ROOT = join(import.meta.dirname, "../..");
const ROOMS = ["engine", "source", "store", "experts"];
const COPIED = ["src", "test", "cli", "shaders", "package.json", "tsconfig.json", "vitest.config.ts"];
/** Tests that measure, and take a minute: no bug of one line is theirs to find. */
const MEASURING = ["test/unit/engine/quality.test.ts", "test/unit/experts/scale.test.ts"];
/** What Node has nothing to run with. */
const IN_BROWSER = {
  "src/store/opfs.ts": "test/gpu/opfs.test.ts",
  "src/store/write_file.ts": "test/gpu/opfs.test.ts",
  "src/store/slices.ts": "test/gpu/opfs.test.ts",
  "src/store/indexeddb.ts": "test/gpu/indexeddb.test.ts",
};
/** So many times as long as without a mutant, and this much for a busy machine. */
const [SLOWER, SPARE_MS] = [4, 20_000];

const { values } = parseArgs({
  options: {
    room: { type: "string", multiple: true, default: ROOMS },
    sample: { type: "string", default: "40" },
    seed: { type: "string", default: "1" },
    jobs: { type: "string", default: "1" },
    file: { type: "string", default: "" },
    far: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
  },
});

/** Numbers in [0, 1): mulberry32. */
function drawn(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A sample of a room's mutants, in the order of files and lines. */
function sampleOf(room) {
  const folder = join(ROOT, "src", room);
  const files = readdirSync(folder)
    .filter((name) => name.endsWith(".ts") && name.includes(values.file))
    .sort();
  const all = files.flatMap((name) => {
    const source = readFileSync(join(folder, name), "utf8");
    return mutantsOf(name, source).map((mutant) => ({ ...mutant, file: `src/${room}/${name}`, source }));
  });
  const draw = drawn(Number(values.seed));
  const shuffled = all.map((mutant, index) => ({ mutant, index, key: draw() })).sort((a, b) => a.key - b.key);
  const sample = shuffled.slice(0, Number(values.sample)).sort((a, b) => a.index - b.index);
  return { all: all.length, sample: sample.map(({ mutant }) => mutant) };
}

/** A mutant in words: its place, what it is, and the line as it then reads. */
function describe({ file, source, begin, end, text, what }) {
  const line = source.slice(0, begin).split("\n").length;
  const from = source.lastIndexOf("\n", begin) + 1;
  const to = source.indexOf("\n", end);
  const changed = `${source.slice(from, begin)}${text}${source.slice(end, to)}`.replace(/\s+/g, " ").trim();
  return `${file}:${line} (${what}): ${changed}`;
}

/** A copy of the project whose sources may be changed. */
function makeCopy() {
  const folder = mkdtempSync(join(tmpdir(), "mixtab-mutants-"));
  for (const name of COPIED) cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return folder;
}

/** Runs tests in a copy until one fails. "passed", "failed", or "timed out" after `limitMs`. */
function vitest(folder, args, limitMs) {
  const all = ["vitest", ...args, "--run", "--bail", "1", "--maxWorkers", "1", "--passWithNoTests"];
  const excluded = MEASURING.flatMap((file) => ["--exclude", file]);
  const env = { ...process.env, MIXTAB_CASES: "120" };
  const child = spawn("npx", [...all, ...excluded], { cwd: folder, stdio: "pipe", env, detached: true });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (text) => {
      output += text;
    });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    process.kill(-child.pid, "SIGKILL"); // a mutant may spin where nothing else can stop it
  }, limitMs);
  return new Promise((resolve) => {
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ outcome: late ? "timed out" : code === 0 ? "passed" : "failed", output });
    });
  });
}

/** The test runs that a mutant has to survive, cheapest first. */
function* trials(room, file) {
  yield nearOf(room);
  if (file in IN_BROWSER) yield ["--project", "gpu", IN_BROWSER[file]];
  if (values.far) yield ["related", file, "--project", "node", "--exclude", `test/unit/${room}/**`];
}

const nearOf = (room) => ["--project", "node", `test/unit/${room}`];

async function outcomeOf(folder, room, { file, source, begin, end, text }, limitMs) {
  const path = join(folder, file);
  writeFileSync(path, source.slice(0, begin) + text + source.slice(end));
  try {
    for (const args of trials(room, file)) {
      const { outcome } = await vitest(folder, args, limitMs);
      if (outcome !== "passed") return outcome;
    }
    return "passed";
  } finally {
    writeFileSync(path, source);
  }
}

/** How long tests may take with a mutant; without one they must pass. */
async function limitOf(folder, room) {
  const began = performance.now();
  const { outcome, output } = await vitest(folder, nearOf(room), 900_000);
  if (outcome !== "passed") throw new Error(`Without a mutant, the tests of ${room} have ${outcome}:\n${output}`);
  return (performance.now() - began) * SLOWER + SPARE_MS;
}

async function runRoom(room, copies) {
  const { all, sample } = sampleOf(room);
  if (values.list) return void console.log([`${room}: ${all} mutants`, ...sample.map(describe)].join("\n"));
  const limitMs = await limitOf(copies[0], room);
  const outcomes = { failed: 0, "timed out": 0, passed: 0 };
  const queue = [...sample];
  await Promise.all(
    copies.map(async (folder) => {
      for (let mutant = queue.shift(); mutant; mutant = queue.shift()) {
        const outcome = await outcomeOf(folder, room, mutant, limitMs);
        outcomes[outcome]++;
        if (outcome === "passed") console.log(`lived: ${describe(mutant)}`);
        if (outcome === "timed out") console.log(`timed out: ${describe(mutant)}`);
      }
    }),
  );
  const noticed = outcomes.failed + outcomes["timed out"];
  const share = ((100 * noticed) / Math.max(1, sample.length)).toFixed(0);
  console.log(
    `${room}: ${sample.length} of ${all} mutants, seed ${values.seed}: ${outcomes.failed} killed, ` +
      `${outcomes["timed out"]} timed out, ${outcomes.passed} lived: ${share} %`,
  );
}

for (const room of values.room)
  if (!ROOMS.includes(room)) throw new Error(`There is no room ${room}; there are ${ROOMS.join(", ")}.`);
const copies = values.list ? [] : Array.from({ length: Number(values.jobs) }, makeCopy);
try {
  for (const room of values.room) await runRoom(room, copies);
} finally {
  for (const folder of copies)
    if (basename(folder).startsWith("mixtab-mutants-") && relative(tmpdir(), folder) === basename(folder))
      rmSync(folder, { recursive: true });
}
