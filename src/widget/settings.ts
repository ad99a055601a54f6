import { type ChatRequest, type EngineOptions, MixtabError } from "../index.ts";

/**
 * Attributes that the engine is opened with. If one changes, the engine is opened anew, except for
 * `budget`, which can change while it is open.
 */
export const ENGINE_ATTRIBUTES = ["model", "budget", "context-length", "device"] as const;

/** Attributes that are read when an answer begins. */
export const ANSWER_ATTRIBUTES = ["temperature", "max-tokens"] as const;

/**
 * The engine's own default, which the budget becomes if the attribute is removed while the engine
 * is open.
 */
export const DEFAULT_BUDGET_BYTES = 2 * 1024 ** 3;

const SCALE: ReadonlyMap<string | undefined, number> = new Map([
  ["", 1],
  ["b", 1],
  ["kb", 1e3],
  ["mb", 1e6],
  ["gb", 1e9],
  ["kib", 2 ** 10],
  ["mib", 2 ** 20],
  ["gib", 2 ** 30],
]);

/**
 * Reads a budget: "2GB", "64 MB", "512MiB", a number of bytes, "all", or "auto". undefined (the
 * engine's default) if the attribute is absent or empty. Errors: bad-request.
 */
export function parseBudget(text: string | null): number | "auto" | undefined {
  const value = text?.trim().toLowerCase() ?? "";
  if (value === "") return undefined;
  if (value === "auto") return value;
  if (value === "all") return Number.MAX_SAFE_INTEGER;
  const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/.exec(value) ?? [];
  const scale = SCALE.get(unit);
  if (amount === undefined || scale === undefined)
    throw new MixtabError(
      "bad-request",
      `budget="${text}" is not an amount of memory: write "all", "auto", "2GB", "64MB" or a number of bytes.`,
    );
  return Math.min(Number.MAX_SAFE_INTEGER, Math.floor(Number(amount) * scale));
}

function parseNumber(element: Element, name: string, wanted: string, fits: (value: number) => boolean) {
  const text = element.getAttribute(name)?.trim() ?? "";
  if (text === "") return undefined;
  const value = Number(text);
  if (!fits(value)) throw new MixtabError("bad-request", `${name}="${text}" should be ${wanted}.`);
  return value;
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value > 0;

/** What the attributes say about the engine. Errors: bad-request. */
export function engineSettings(element: Element): EngineOptions {
  const budgetBytes = parseBudget(element.getAttribute("budget"));
  const contextLength = parseNumber(element, "context-length", "a whole number of tokens above 0", isCount);
  const device = element.getAttribute("device")?.trim() || "auto";
  if (device !== "auto" && device !== "gpu" && device !== "cpu")
    throw new MixtabError("bad-request", `device="${device}" should be "auto", "gpu" or "cpu".`);
  return {
    device,
    ...(budgetBytes === undefined ? {} : { budgetBytes }),
    ...(contextLength === undefined ? {} : { contextLength }),
  };
}

/** What the attributes say about an answer. Errors: bad-request. */
export function answerSettings(element: Element): Pick<ChatRequest, "temperature" | "max_tokens"> {
  const temperature = parseNumber(
    element,
    "temperature",
    "a number, 0 (always the same words) or above",
    (t) => t >= 0,
  );
  const maxTokens = parseNumber(element, "max-tokens", "a whole number above 0", isCount);
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
  };
}
