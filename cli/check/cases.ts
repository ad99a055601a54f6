import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { MixtabError } from "../../src/base/errors.ts";

/** The cases of a text golden, which is a .json file. Empty if the path is anything else. */
export function casesOf(path: string): readonly object[] {
  if (!path.endsWith(".json") || basename(path) === "index.json") return [];
  try {
    const json: unknown = JSON.parse(readFileSync(path, "utf8"));
    return Array.isArray(json) && json.every((entry) => typeof entry === "object" && entry !== null) ? json : [];
  } catch {
    return [];
  }
}

/** Reads a JSON file. Errors: bad-json, also if the file cannot be read. */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new MixtabError("bad-json", `${path} cannot be read as JSON: ${(error as Error).message}`);
  }
}
