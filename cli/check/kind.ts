/**
 * What the command must know about a kind of golden: how it is recognised on disk, and how it is
 * checked.
 */
import type { Line } from "./comparison.ts";

/** The command's options. A kind reads only those that concern it. */
export interface CheckOptions {
  readonly device: "cpu" | "gpu";
  readonly slots: number | undefined;
  readonly chunk: number | undefined;
  /** The folder of tokenizers and templates. Default: a folder above the golden. */
  readonly fixtures: string | undefined;
  /** The model for goldens that come without one: a folder, a URL, or a Hub repository. */
  readonly model: string | undefined;
}

/** One kind of golden: to add one, write its file in this folder and its line in kinds.ts. */
export interface Kind {
  /**
   * What a path of this kind looks like, for the command's messages: "a folder with golden.json".
   */
  readonly looksLike: string;
  /** Whether a path, which need not exist, is a golden of this kind. */
  recognises(path: string): boolean;
  /** Yields the comparisons as they are made. A string is a remark between them. */
  check(path: string, options: CheckOptions): AsyncIterable<Line | string>;
}

/**
 * Says that a golden is skipped because something it needs is not there: an npm package that is too
 * large to depend on, or the weights of a model.
 */
export class NotInstalled extends Error {}
