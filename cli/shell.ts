import { MixtabError } from "../src/base/errors.ts";
import type { Quantize } from "../src/engine/api.ts";

/**
 * Runs a command and exits with the code it returns. A MixtabError is printed to stderr as one line
 * with its code, and the exit code is then 1.
 */
export async function runCommand(main: (args: string[]) => Promise<number>): Promise<never> {
  try {
    process.exit(await main(process.argv.slice(2)));
  } catch (error) {
    if (error instanceof MixtabError) console.error(`${error.code}: ${error.message}`);
    else if ((error as { code?: string }).code?.startsWith("ERR_PARSE_ARGS")) console.error((error as Error).message);
    else console.error(error);
    process.exit(1);
  }
}

/** Bytes as the user reads them: "3.0 MB". */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Parses a number of bytes: "2GB", "64MB" (decimal units), "1000000". Errors: bad-request. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)b?$/i.exec(text.trim());
  if (!match)
    throw new MixtabError("bad-request", `"${text}" is not a number of bytes. Write for instance 64MB or 2GB.`);
  return Math.floor(Number(match[1]) * 1000 ** " kmgt".indexOf((match[2] || " ").toLowerCase()));
}

/** Parses "auto", "mlx" or "false" as the engine's option `quantize`. Errors: bad-request. */
export function parseQuantize(text: string): Quantize {
  if (text === "auto" || text === "mlx") return text;
  if (text === "false") return false;
  throw new MixtabError("bad-request", `--quantize is auto, mlx or false, not ${text}.`);
}

/** Parses "cpu" or "gpu". Errors: bad-request. */
export function readDevice(text: string): "cpu" | "gpu" {
  if (text === "cpu" || text === "gpu") return text;
  throw new MixtabError("bad-request", "--device is cpu or gpu.");
}

/**
 * Parses a whole number from 1 to `most`; undefined if the option is not given. Errors:
 * bad-request.
 */
export function wholeNumber(option: string, text: string | undefined, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new MixtabError(
    "bad-request",
    `${option} is a whole number from 1${most <= 256 ? ` to ${most}` : ""}, not ${text}.`,
  );
}
