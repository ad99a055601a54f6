/**
 * Turns messages into a prompt with a model's chat template (Jinja). The template finds the same
 * variables and functions as in transformers.
 */
import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { MixtabError } from "../base/errors.ts";
import { excerpt, quote } from "../base/quote.ts";
import { strftime } from "./strftime.ts";

/** One message of a conversation. Templates may read further fields, such as `tool_calls`. */
export interface TemplateMessage {
  readonly role: string;
  readonly content?: unknown;
  readonly [field: string]: unknown;
}

/** The texts of the special tokens that templates write into prompts, such as `<s>`. */
export interface TemplateTokens {
  readonly bosToken?: string | undefined;
  readonly eosToken?: string | undefined;
  readonly padToken?: string | undefined;
  readonly unkToken?: string | undefined;
}

export interface RenderOptions {
  /**
   * Whether the prompt ends with the opening of the assistant's turn, such as
   * `<|im_start|>assistant`.
   */
  readonly addGenerationPrompt: boolean;
  /**
   * Whether the prompt ends right after the last message's content, so that the model continues
   * that message. Not together with `addGenerationPrompt`.
   */
  readonly continueFinalMessage?: boolean | undefined;
  readonly tools?: readonly unknown[] | undefined;
  /**
   * Every other option is a variable of that name in the template, for instance `enable_thinking`.
   */
  readonly [variable: string]: unknown;
}

export interface ChatTemplate {
  /**
   * The prompt's text. It contains the special tokens, so it must be encoded without adding them
   * again.
   * @throws MixtabError bad-messages for an empty or malformed conversation and for one that the
   * template itself refuses, bad-request for options that exclude each other, bad-template if the
   * template fails.
   */
  render(messages: readonly TemplateMessage[], options: RenderOptions): string;
}

/**
 * Parses a template. `now` is the clock that its `strftime_now` reads.
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
 * The source of a model's chat template, undefined if it has none. As in transformers, a
 * chat_template.jinja comes before tokenizer_config.json, and of several templates the one named
 * "default" is taken.
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

/**
 * The most numbers that `range` may return: the limit of jinja2's sandbox, in which transformers
 * runs templates.
 */
const MAX_RANGE = 100_000;

/**
 * The functions and constants that a template finds. They are defined here because the package's
 * own cannot be replaced, and two of ours differ from them: `raise_exception` throws an error with
 * a code, and `strftime_now` writes English dates.
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
 * Appended to the content of the last message, to find in the rendered text where that content
 * ends, as transformers does. If the text lacks the tag's final space, the template trims contents,
 * and the text before the tag is trimmed too.
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
