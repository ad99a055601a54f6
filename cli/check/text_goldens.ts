/**
 * Checks tokenizers and chat templates against text goldens: ids, decoded text, streamed pieces,
 * rendered conversations.
 */
import { MixtabError } from "../../src/base/errors.ts";
import { loadChatTemplate, type TemplateMessage } from "../../src/text/chat_template.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";
import type { Line } from "./comparison.ts";

export interface TokenizerCase {
  readonly text: string;
  readonly add_special_tokens: boolean;
  readonly ids: readonly number[];
  readonly decoded: string;
  readonly decoded_skip_special: string;
}

export interface StreamCase {
  readonly title: string;
  readonly ids: readonly number[];
  readonly skip_special_tokens: boolean;
  /**
   * The text that should be shown after each id, and at the end (`flush`). All of it together is
   * `text`.
   */
  readonly pieces: readonly string[];
  readonly flush: string;
  readonly text: string;
  /** Whether each piece must come with its id. If false, only the whole text counts. */
  readonly strict_timing: boolean;
}

export interface TemplateCase {
  readonly title: string;
  readonly messages: readonly TemplateMessage[];
  readonly tools?: readonly unknown[] | null;
  readonly add_generation_prompt: boolean;
  readonly continue_final_message?: boolean;
  readonly bos_token: string | null;
  readonly eos_token: string | null;
  /** A case has either the rendered text, or a part of the error's message. */
  readonly text?: string;
  readonly error?: string;
  readonly python_error?: string;
  /** Every other field is a variable for the template. */
  readonly [variable: string]: unknown;
}

export interface GoldenFailure {
  readonly title: string;
  readonly expected: string;
  readonly got: string;
}

/**
 * The number of cases is passed + exempted + failed cases. One case can fail in more than one way.
 */
export interface GoldenReport {
  readonly cases: number;
  readonly passed: number;
  /** Titles of cases that differ only in a way that cannot be avoided; each check says in which. */
  readonly exempted: readonly string[];
  readonly failures: readonly GoldenFailure[];
}

/** Turns a report into lines: first how many of its cases pass, then every failure. */
export function* linesOf(quantity: string, { cases, passed, exempted, failures }: GoldenReport): Generator<Line> {
  const exempt = exempted.length > 0 ? `, ${exempted.length} exempt (${exempted.join("; ")})` : "";
  yield { quantity, ok: failures.length === 0, text: `${passed} of ${cases} pass${exempt}` };
  for (const { title, expected, got } of failures) yield { quantity: title, ok: false, text: `${got} for ${expected}` };
}

/** Compares ids, decoded text, and decoded text without special tokens. No case is exempt. */
export function checkTokenizerGolden(tokenizer: Tokenizer, cases: readonly TokenizerCase[]): GoldenReport {
  return report(cases, (c) => {
    const ids = attempt(() => tokenizer.encode(c.text, { addSpecialTokens: c.add_special_tokens }));
    const decoded = attempt(() => tokenizer.decode(c.ids, { skipSpecialTokens: false }));
    const skipped = attempt(() => tokenizer.decode(c.ids, { skipSpecialTokens: true }));
    const text = JSON.stringify(c.text);
    return [
      ...differ(`ids of ${text}`, c.ids, ids),
      ...differ(`text of the ids of ${text}`, c.decoded, decoded),
      ...differ(`text without special tokens of the ids of ${text}`, c.decoded_skip_special, skipped),
    ];
  });
}

/**
 * Compares the text decoded at once, and the streamed pieces: one by one where timing is strict,
 * else joined. A case is exempt if the stream showed a character with its last byte, as strict
 * timing wants, and a later stray byte made the reference turn the whole run into U+FFFD: no stream
 * can take text back.
 */
export function checkStreamGolden(tokenizer: Tokenizer, cases: readonly StreamCase[]): GoldenReport {
  return report(cases, (c) => {
    const options = { skipSpecialTokens: c.skip_special_tokens };
    const title = c.title + (c.skip_special_tokens ? " (special tokens skipped)" : "");
    const failures = differ(
      `${title}, at once`,
      c.text,
      attempt(() => tokenizer.decode(c.ids, options)),
    );
    const streamed = attempt(() => {
      const stream = tokenizer.stream(options);
      return [...c.ids.map((id) => stream.push(id)), stream.flush()];
    });
    if (c.strict_timing) return [...failures, ...differ(`${title}, streamed`, [...c.pieces, c.flush], streamed)];
    const joined = typeof streamed === "string" ? streamed : streamed.join("");
    const different = [...failures, ...differ(`${title}, streamed and joined`, c.text, joined)];
    if (failures.length > 0 || different.length === 0 || typeof streamed === "string") return different;
    const prefix = (count: number) => tokenizer.decode(c.ids.slice(0, count), options);
    return isShownTooEarly(c.text, streamed, prefix) ? title : different;
  });
}

/**
 * Renders every conversation at the time of the goldens, 2025-01-15 12:00. A case is exempt if its
 * text differs only in how floats are written that the conversation has as JSON numbers (Python's
 * `2.0` and `1e-07` are `2` and `1e-7` in JavaScript).
 */
export function checkTemplateGolden(templateSource: string, cases: readonly TemplateCase[]): GoldenReport {
  return report(cases, (c) => {
    let thrown: unknown;
    const got = attempt(
      () => renderCase(templateSource, c),
      (error) => {
        thrown = error;
      },
    );
    if (c.error !== undefined) {
      const isRefused = thrown instanceof MixtabError && thrown.message.includes(c.error);
      return isRefused ? [] : [{ title: c.title, expected: `error ${c.error || c.python_error || ""}`.trim(), got }];
    }
    const failures = differ(c.title, c.text, got);
    if (failures.length === 0 || thrown !== undefined) return failures;
    return differsInFloatsOnly(c.text ?? "", got, numbersIn(c)) ? c.title : failures;
  });
}

const GOLDEN_TIME = new Date(2025, 0, 15, 12, 0);

function renderCase(templateSource: string, c: TemplateCase): string {
  const { title, text, error, python_error, bos_token, eos_token, ...rest } = c;
  const { messages, tools, add_generation_prompt, continue_final_message, ...variables } = rest;
  const tokens = { bosToken: bos_token ?? undefined, eosToken: eos_token ?? undefined };
  return loadChatTemplate(templateSource, tokens, () => GOLDEN_TIME).render(messages, {
    ...variables,
    addGenerationPrompt: add_generation_prompt,
    continueFinalMessage: continue_final_message,
    tools: tools ?? undefined,
  });
}

/**
 * Runs a check on every case. It returns its failures, or the title under which the case is exempt.
 */
function report<Case>(cases: readonly Case[], check: (c: Case) => GoldenFailure[] | string): GoldenReport {
  const exempted: string[] = [];
  const failures: GoldenFailure[] = [];
  let passed = 0;
  for (const c of cases) {
    const result = check(c);
    if (typeof result === "string") exempted.push(result);
    else if (result.length === 0) passed += 1;
    else failures.push(...result);
  }
  return { cases: cases.length, passed, exempted, failures };
}

/** The result of an action. If it throws, a text that tells the error and that no golden has. */
function attempt<T>(action: () => T, onError: (error: unknown) => void = () => {}): T | string {
  try {
    return action();
  } catch (error) {
    onError(error);
    return `threw ${error instanceof MixtabError ? `${error.code}: ` : ""}${error instanceof Error ? error.message : error}`;
  }
}

function differ(title: string, expected: unknown, got: unknown): GoldenFailure[] {
  const [want, have] = [JSON.stringify(expected) ?? "undefined", JSON.stringify(got) ?? "undefined"];
  return want === have ? [] : [{ title, expected: want, got: have }];
}

const REPLACEMENT = "\ufffd";

/**
 * Whether the stream was right when it showed a character that a later byte spoilt. That is so if
 * `expected` is the streamed text with some characters replaced by as many U+FFFD as they have
 * bytes, and if the first such character was right when it was shown: `prefix(n)`, the first n ids
 * decoded at once, began with the text up to it.
 */
function isShownTooEarly(expected: string, pieces: readonly string[], prefix: (count: number) => string): boolean {
  let at = 0;
  let shown = "";
  let anyLost = false;
  for (const [i, piece] of pieces.entries()) {
    for (const character of piece) {
      const lost = REPLACEMENT.repeat(new TextEncoder().encode(character).length);
      shown += character;
      if (expected.startsWith(character, at)) at += character.length;
      else if (expected.startsWith(lost, at)) {
        if (!anyLost && !prefix(i + 1).startsWith(shown)) return false;
        anyLost = true;
        at += lost.length;
      } else return false;
    }
  }
  return anyLost && at === expected.length;
}

const NUMBER = /(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/;

/**
 * Whether two texts differ only in floats. Both are split at numbers, which are the parts at odd
 * places. The other parts must be equal; numbers must be equal by value, and differ only where the
 * case has them (`numbers`).
 */
function differsInFloatsOnly(expected: string, got: string, numbers: ReadonlySet<number>): boolean {
  const [want, have] = [expected.split(NUMBER), got.split(NUMBER)];
  if (want.length !== have.length) return false;
  return want.every((part, i) => {
    if (part === have[i]) return true;
    const isFloat = i % 2 === 1 && /[.e]/.test(part);
    return isFloat && numbers.has(Number(part)) && String(Number(part)) === have[i];
  });
}

function numbersIn(value: unknown, found = new Set<number>()): Set<number> {
  if (typeof value === "number") found.add(value);
  else if (typeof value === "object" && value !== null)
    for (const inner of Object.values(value)) numbersIn(inner, found);
  return found;
}
