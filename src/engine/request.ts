import { MixtabError } from "../base/errors.ts";
import { excerpt, quote } from "../base/quote.ts";
import type { Sampling } from "../ops/ops.ts";
import type { ChatRequest } from "./api.ts";

/** A checked request. */
export interface ReadRequest {
  readonly sampling: Sampling;
  readonly maxTokens: number;
  readonly stop: readonly string[];
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** What reaches the chat template. */
  readonly variables: Readonly<Record<string, unknown>>;
}

/**
 * The fields of the model's generation_config.json that stand in for options the request leaves
 * out.
 */
export interface GenerationDefaults {
  readonly do_sample?: unknown;
  readonly temperature?: unknown;
  readonly top_p?: unknown;
  readonly top_k?: unknown;
  readonly max_new_tokens?: unknown;
}

const KNOWN = new Set<string>([
  "messages",
  "model",
  "stream",
  "stream_options",
  "max_tokens",
  "max_completion_tokens",
  "temperature",
  "top_p",
  "top_k",
  "seed",
  "stop",
  "n",
  "reasoning_effort",
  "enable_thinking",
  "chat_template_kwargs",
] satisfies (keyof ChatRequest)[]);

const MESSAGE_FIELDS = ["role", "content", "reasoning_content"];
const ROLES = ["system", "user", "assistant", "tool"];

/** OpenAI's limit on stop strings. */
const MOST_STOPS = 4;

/**
 * Checks a request, of whose types nothing is taken for granted, and fills in defaults. Errors:
 * bad-request, unsupported-option, empty-prompt.
 */
export function readRequest(request: ChatRequest, defaults: GenerationDefaults): ReadRequest {
  if (typeof request !== "object" || request === null) throw bad("The request should be an object with messages");
  for (const [option, value] of Object.entries(request))
    if (!KNOWN.has(option) && value !== undefined && value !== null)
      throw new MixtabError(
        "unsupported-option",
        `mixtab does not know the option ${quote(option)} yet. Leave it out; it knows: ${[...KNOWN].join(", ")}.`,
      );
  checkMessages(request.messages);
  if (request.n != null && request.n !== 1)
    throw new MixtabError(
      "unsupported-option",
      `n is ${quote(request.n)}; mixtab answers once. Leave n out, or set it to 1.`,
    );

  const greedy = defaults.do_sample === false;
  const preset = (value: unknown, otherwise: number) => (typeof value === "number" && !greedy ? value : otherwise);
  const number = (option: keyof ChatRequest, low: number, high: number, otherwise: number, whole = false): number => {
    const value = request[option] ?? otherwise;
    if (typeof value === "number" && value >= low && value <= high && (!whole || Number.isInteger(value))) return value;
    throw bad(
      `"${option}" should be a ${whole ? "whole number" : "number"} from ${low} to ${high}, and is ${quote(value)}`,
    );
  };
  const limit = Number.MAX_SAFE_INTEGER;
  const seed = number("seed", -limit, limit, Math.floor(Math.random() * 2 ** 32), true);
  const longest = preset(defaults.max_new_tokens, limit);
  return {
    sampling: {
      temperature: number("temperature", 0, 2, greedy ? 0 : preset(defaults.temperature, 1)),
      topP: number("top_p", 0, 1, preset(defaults.top_p, 1)),
      topK: number("top_k", 0, 1 << 22, preset(defaults.top_k, 0), true),
      seed: (seed ^ Math.floor(seed / 2 ** 32)) >>> 0,
    },
    maxTokens: number("max_completion_tokens", 1, limit, number("max_tokens", 1, limit, longest, true), true),
    stop: readStop(request.stop),
    stream: flag("stream", request.stream),
    includeUsage: flag("stream_options.include_usage", readStreamOptions(request).include_usage),
    variables: readVariables(request),
  };
}

/** Variables that `render` sets itself. */
const OWN_VARIABLES = ["messages", "tools", "add_generation_prompt", "continue_final_message"];

function readVariables(request: ChatRequest): Readonly<Record<string, unknown>> {
  const { reasoning_effort: effort, enable_thinking: thinking, chat_template_kwargs: more = {} } = request;
  if (effort != null && typeof effort !== "string")
    throw bad(`"reasoning_effort" should be a text, and is ${quote(effort)}`);
  if (more !== null && (typeof more !== "object" || Array.isArray(more)))
    throw bad(`"chat_template_kwargs" should be an object, and is ${quote(more)}`);
  const own = Object.keys(more ?? {}).find((name) => OWN_VARIABLES.includes(name));
  if (own !== undefined) throw bad(`chat_template_kwargs.${own} is set by mixtab itself; leave it out`);
  return {
    ...more,
    ...(effort == null ? {} : { reasoning_effort: effort }),
    ...(thinking == null ? {} : { enable_thinking: flag("enable_thinking", thinking) }),
  };
}

function readStreamOptions({ stream, stream_options: options }: ChatRequest): { include_usage?: boolean } {
  if (options == null) return {};
  if (!stream) throw bad('"stream_options" goes only with "stream": true');
  const unknown = Object.keys(options).find((key) => key !== "include_usage");
  if (unknown === undefined) return options;
  throw new MixtabError(
    "unsupported-option",
    `mixtab does not know stream_options.${excerpt(unknown)} yet. Leave it out.`,
  );
}

function checkMessages(messages: unknown): void {
  if (!Array.isArray(messages)) throw bad('"messages" should be a list of messages');
  for (const [index, message] of messages.entries()) {
    const where = `messages[${index}]`;
    if (typeof message !== "object" || message === null) throw bad(`${where} should be an object`);
    const extra = Object.keys(message).find((key) => !MESSAGE_FIELDS.includes(key) && message[key] != null);
    if (extra !== undefined)
      throw new MixtabError("unsupported-option", `mixtab does not know ${where}.${excerpt(extra)} yet. Leave it out.`);
    if (!ROLES.includes(message.role)) throw bad(`${where}.role should be one of ${ROLES.join(", ")}`);
    if (typeof message.content !== "string")
      throw bad(`${where}.content should be text; images and parts are not supported`);
    const { reasoning_content: reasoning } = message;
    if (reasoning != null && typeof reasoning !== "string") throw bad(`${where}.reasoning_content should be text`);
  }
  if (messages.every(({ content }) => content.trim() === ""))
    throw new MixtabError("empty-prompt", "There is nothing to answer: every message is empty. Write something.");
}

function readStop(stop: ChatRequest["stop"]): readonly string[] {
  const strings = stop == null ? [] : typeof stop === "string" ? [stop] : stop;
  if (
    Array.isArray(strings) &&
    strings.length <= MOST_STOPS &&
    strings.every((text) => typeof text === "string" && text !== "")
  )
    return strings;
  throw bad(`"stop" should be a text or up to ${MOST_STOPS} texts, none empty`);
}

function flag(option: string, value: unknown): boolean {
  if (value == null || typeof value === "boolean") return value ?? false;
  throw bad(`"${option}" should be true or false, and is ${quote(value)}`);
}

const bad = (what: string): MixtabError => new MixtabError("bad-request", `${what}.`);
