/** What a kind of golden is to the command: how it is recognised on disk, and how it is checked. */
import type { Line } from "./comparison.ts";

/** The command's options; a kind reads those that concern it. */
export interface CheckOptions {
  readonly device: "cpu" | "gpu";
  readonly slots: number | undefined;
  readonly chunk: number | undefined;
  /** The folder of tokenizers and templates that do not lie where their goldens do. */
  readonly fixtures: string | undefined;
  /** The model of goldens that come without one: a folder, a URL, a Hub repository. */
  readonly model: string | undefined;
}

/** One kind of golden: to add one, write its file in this folder and its line in kinds.ts. */
export interface Kind {
  /** What to name on the command line: "a folder with golden.json". */
  readonly looksLike: string;
  /** Whether a path, which need not exist, is a golden of this kind. */
  recognises(path: string): boolean;
  /** The comparisons as they are made; a string is a remark between them. */
  check(path: string, options: CheckOptions): AsyncIterable<Line | string>;
}

/** A golden that only an npm package too large to depend on can be held against. */
export class NotInstalled extends Error {}
