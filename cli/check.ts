/**
 * `npm run check -- PATH... [--device cpu|gpu] [--slots N] [--chunk N] [--fixtures DIR]
 * [--model MODEL]`: compares mixtab with goldens, which hold the results of reference
 * implementations. Each PATH is a golden of one of the kinds in check/kinds.ts, or a folder that
 * has such goldens in it or in its subfolders.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { MixtabError } from "../src/base/errors.ts";
import type { Line } from "./check/comparison.ts";
import { type CheckOptions, NotInstalled } from "./check/kind.ts";
import { KINDS, kindOf } from "./check/kinds.ts";
import { readDevice, runCommand, wholeNumber } from "./shell.ts";

const USAGE = "npm run check -- PATH... [--device cpu|gpu] [--slots N] [--chunk N] [--fixtures DIR] [--model MODEL]";

await runCommand(async (args) => {
  const { paths, options } = readArguments(args);
  let failures = 0;
  let checked = 0;
  let skipped = 0;
  for (const path of paths.flatMap(expand)) {
    console.log(path);
    try {
      for await (const line of check(path, options)) {
        print(line);
        if (typeof line === "string") continue;
        checked++;
        if (!line.ok) failures++;
      }
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

function readArguments(args: string[]): { readonly paths: readonly string[]; readonly options: CheckOptions } {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      device: { type: "string", default: "cpu" },
      slots: { type: "string" },
      chunk: { type: "string" },
      fixtures: { type: "string" },
      model: { type: "string" },
    },
  });
  const { device, fixtures, model } = values;
  if (positionals.length === 0) throw new MixtabError("bad-request", USAGE);
  const slots = wholeNumber("--slots", values.slots, Number.MAX_SAFE_INTEGER);
  const chunk = wholeNumber("--chunk", values.chunk, 256);
  return { paths: positionals, options: { device: readDevice(device), slots, chunk, fixtures, model } };
}

/**
 * The goldens at and below a path. If there are none: the path itself, so that the error about it
 * can name it.
 */
function expand(path: string): readonly string[] {
  const found = goldensBelow(path);
  return found.length > 0 ? found : [path];
}

function goldensBelow(path: string): readonly string[] {
  if (kindOf(path)) return [path];
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return [];
  return readdirSync(path)
    .sort()
    .flatMap((name) => goldensBelow(join(path, name)));
}

function check(path: string, options: CheckOptions): AsyncIterable<Line | string> {
  const kind = kindOf(path);
  if (kind) return kind.check(path, options);
  const known = new Intl.ListFormat("en", { type: "disjunction" }).format(KINDS.map(({ looksLike }) => looksLike));
  throw new MixtabError("not-found", `${path} is neither a golden nor a folder of goldens. Name ${known}.`);
}

function print(line: Line | string): void {
  console.log(
    typeof line === "string" ? `  ${line}` : `  ${line.ok ? "ok  " : "FAIL"}  ${line.quantity}: ${line.text}`,
  );
}
