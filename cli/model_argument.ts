import { existsSync } from "node:fs";
import type { Host } from "../src/engine/engine.ts";
import { openSource } from "../src/engine/open_source.ts";
import { directorySource } from "../src/source/directory.ts";

/**
 * Opens the model that an argument names: a local folder if there is one of that name, else a URL
 * or owner/name on the Hub.
 */
export function openArgument(argument: string): Host {
  return existsSync(argument) ? { id: argument, source: directorySource(argument) } : openSource(argument);
}
