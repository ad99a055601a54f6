import { dialogues } from "./dialogues.ts";
import type { Kind } from "./kind.ts";
import { malformed } from "./malformed.ts";
import { model } from "./model.ts";
import { template } from "./template.ts";
import { tokens } from "./tokens.ts";

/** Every kind of golden; the first that recognises a path checks it. */
export const KINDS: readonly Kind[] = [dialogues, model, malformed, template, tokens];

/**
 * The kind of golden that a path is; undefined if it is none (a folder of goldens, for instance).
 */
export const kindOf = (path: string): Kind | undefined => KINDS.find((kind) => kind.recognises(path));
