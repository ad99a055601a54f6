/**
 * A model's chat template (Jinja) as messages to prompt, with what transformers gives to templates.
 */
import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { MixtabError } from "../base/errors.ts";
import { excerpt, quote } from "../base/quote.ts";
import { strftime } from "./strftime.ts";

/** One turn; templates read further fields, such as `tool_calls`. */
export interface TemplateMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [field: string]: unknown;
}

/** The texts of special tokens that templates write. */
export interface TemplateTokens {
  readonly bosToken?: string | undefined;
  readonly eosToken?: string | undefined;
  readonly padToken?: string | undefined;
  readonly unkToken?: string | undefined;
}

export interface RenderOptions {
  /** End with the opening of the assistant's turn. */
  readonly addGenerationPrompt: boolean;
  /**
   * End right after the last message's content, for the model to go on with it. Not with
   * `addGenerationPrompt`.
   */
  readonly continueFinalMessage?: boolean | undefined;
  readonly tools?: readonly unknown[] | undefined;
  /** Everything else reaches the template under its own name, for instance `enable_thinking`. */
  readonly [variable: string]: unknown;
}

export interface ChatTemplate {
  /**
   * The prompt's text; it spells the special tokens, so encode it without adding them.
   * @throws MixtabError bad-messages for an empty or malformed conversation and for what the
   * template itself refuses, bad-request for options that exclude each other, bad-template where
   * the template fails.
   */
  render(messages: readonly TemplateMessage[], options: RenderOptions): string;
}

/**
 * Parses a template; `now` is the clock behind its `strftime_now`.
 * @throws MixtabError bad-template if it does not parse.
 */
export function loadChatTemplate(
  source: string,
  tokens: TemplateTokens,
  now: () => Date = () => new Date(),
): ChatTemplate {
  const program = parse(source);
  return {
    render(messages, options) {
      const { addGenerationPrompt, continueFinalMessage = false, tools, ...variables } = options;
      checkMessages(messages);
      if (addGenerationPrompt && continueFinalMessage) {
        throw new MixtabError(
          "bad-request",
          "addGenerationPrompt opens a new turn and continueFinalMessage goes on with the last one; set only one of them.",
        );
      }
      const text = run(program, {
        ...globals(now),
        ...tokenVariables(tokens),
        ...variables,
        messages: continueFinalMessage ? withTag(messages) : messages,
        tools: tools ?? null,
        documents: variables.documents ?? null,
        add_generation_prompt: addGenerationPrompt,
      });
      return continueFinalMessage ? cutAtTag(text) : text;
    },
  };
}

/**
 * The source of a model's chat template, undefined if it has none. A chat_template.jinja wins over
 * tokenizer_config.json, as in transformers; of several templates it is the one named "default".
 * @throws MixtabError bad-template if `chat_template` is malformed, or a list without "default".
 */
export function pickChatTemplate(files: {
  readonly tokenizerConfig?: unknown;
  readonly jinja?: string | undefined;
}): string | undefined {
  if (files.jinja !== undefined) return files.jinja;
  const config = files.tokenizerConfig as { readonly chat_template?: unknown } | null | undefined;
  const template = config?.chat_template ?? undefined;
  if (template === undefined || typeof template === "string") return template;
  if (!Array.isArray(template) || !template.every(isNamedTemplate)) {
    throw new MixtabError(
      "bad-template",
      'tokenizer_config.json: "chat_template" is neither a text nor a list of named texts. Put the template into a chat_template.jinja beside it.',
    );
  }
  if (template.length === 0) return undefined;
  const chosen = template.find(({ name }) => name === "default");
  if (chosen) return chosen.template;
  const names = template.map(({ name }) => name).join(", ");
  throw new MixtabError(
    "bad-template",
    `tokenizer_config.json has no chat template named "default", only ${excerpt(names)}. Put the one to use into a chat_template.jinja beside it.`,
  );
}

function isNamedTemplate(entry: unknown): entry is { readonly name: string; readonly template: string } {
  if (typeof entry !== "object" || entry === null) return false;
  const { name, template } = entry as { readonly name?: unknown; readonly template?: unknown };
  return typeof name === "string" && typeof template === "string";
}

type Program = Template["parsed"];

const messageOf = (error: unknown): string => excerpt(error instanceof Error ? error.message : String(error));

function parse(source: string): Program {
  try {
    return new Template(source).parsed;
  } catch (error) {
    throw new MixtabError(
      "bad-template",
      `The chat template does not parse: ${messageOf(error)}. Use the model's own chat_template.jinja, or send a plain prompt.`,
      error,
    );
  }
}

function run(program: Program, variables: Readonly<Record<string, unknown>>): string {
  try {
    const environment = new Environment();
    for (const [name, value] of Object.entries(variables)) environment.set(name, value);
    return String(new Interpreter(environment).run(program).value);
  } catch (error) {
    if (error instanceof MixtabError) throw error;
    throw new MixtabError(
      "bad-template",
      `The chat template fails on this conversation: ${messageOf(error)}. Compare the messages' fields with those it reads, or use another template.`,
      error,
    );
  }
}

function checkMessages(messages: readonly TemplateMessage[]): void {
  const isMessage = (message: unknown) => typeof message === "object" && message !== null && !Array.isArray(message);
  if (!Array.isArray(messages) || !messages.every(isMessage)) {
    throw new MixtabError("bad-messages", "The messages are not a list of objects. Send [{ role, content }, ...].");
  }
  if (messages.length === 0) {
    throw new MixtabError("bad-messages", "The conversation is empty. Send at least one message.");
  }
}

/** The limit of jinja2's sandbox, in which transformers runs templates. */
const MAX_RANGE = 100_000;

/**
 * The package's own globals cannot be replaced, and two of ours differ: what is raised has a code,
 * and dates are English.
 */
const globals = (now: () => Date): Readonly<Record<string, unknown>> => ({
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  range,
  strftime_now: (format: unknown) => strftime(now(), String(format)),
  raise_exception: (message: unknown) => {
    throw new MixtabError(
      "bad-messages",
      `The chat template refuses the conversation: ${typeof message === "string" ? excerpt(message) : quote(message)}`,
    );
  },
});

function range(first: number, second?: number, step = 1): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= MAX_RANGE)) throw new Error(`range() would have ${length} numbers, over ${MAX_RANGE}`);
  return Array.from({ length }, (_, i) => start + i * step);
}

function tokenVariables(tokens: TemplateTokens): Readonly<Record<string, string>> {
  const { bosToken, eosToken, padToken, unkToken } = tokens;
  const variables = { bos_token: bosToken, eos_token: eosToken, pad_token: padToken, unk_token: unkToken };
  return Object.fromEntries(Object.entries(variables).filter((entry): entry is [string, string] => Boolean(entry[1])));
}

/**
 * Appended to the last content to find its end in the text; the space shows whether the template
 * trims. As transformers does.
 */
const TAG = "CONTINUE_FINAL_MESSAGE_TAG ";

function withTag(messages: readonly TemplateMessage[]): readonly TemplateMessage[] {
  const last = messages.at(-1)!;
  const { content } = last;
  if (typeof content === "string") return [...messages.slice(0, -1), { ...last, content: content + TAG }];
  const parts: readonly unknown[] = Array.isArray(content) ? content : [];
  const at = parts.findLastIndex((part) => typeof (part as { text?: unknown } | null)?.text === "string");
  if (at < 0) throw new MixtabError("bad-messages", "The final message has no text to continue. Give it one.");
  const part = parts[at] as { readonly text: string };
  return [...messages.slice(0, -1), { ...last, content: parts.with(at, { ...part, text: part.text + TAG }) }];
}

function cutAtTag(text: string): string {
  const at = text.lastIndexOf(TAG.trimEnd());
  if (at < 0) {
    throw new MixtabError(
      "bad-messages",
      "The chat template leaves out the final message, so it cannot be continued. Send it without continueFinalMessage.",
    );
  }
  return text.startsWith(TAG, at) ? text.slice(0, at) : text.slice(0, at).trimEnd();
}
