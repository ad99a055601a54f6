import { MixtabError } from "../base/errors.ts";
import { type ChatTemplate, loadChatTemplate, pickChatTemplate, type TemplateMessage } from "../text/chat_template.ts";
import { type Parting, partingOf } from "../text/reasoning.ts";
import { loadTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import type { ChatMessage } from "./api.ts";
import type { Repository } from "./repository.ts";
import type { GenerationDefaults } from "./request.ts";

/** What is needed to talk to a model: its tokenizer, template, stop ids and sampling defaults. */
export interface Language {
  readonly tokenizer: Tokenizer;
  readonly defaults: GenerationDefaults;
  /** An answer ends at any of these ids. */
  readonly stopIds: ReadonlySet<number>;
  /**
   * A conversation as the model's template writes it, up to where the assistant's answer begins.
   * `variables` reach the template by name. Errors: bad-template, bad-messages.
   */
  render(messages: readonly ChatMessage[], variables?: TemplateVariables): string;
  /**
   * The ids of a conversation, up to the opening of the assistant's answer, and what parts that
   * answer. Errors: bad-template, bad-messages.
   */
  prompt(messages: readonly ChatMessage[], variables?: TemplateVariables): Prompt;
}

/** Such as `enable_thinking`. */
export type TemplateVariables = Readonly<Record<string, unknown>>;

export interface Prompt {
  readonly ids: number[];
  readonly parting: Parting;
}

/**
 * Reads tokenizer, template and defaults from the texts of a repository. Errors: bad-tokenizer,
 * bad-template, bad-json.
 */
export function readLanguage({ texts, config }: Repository): Language {
  if (texts["tokenizer.json"] === undefined)
    throw new MixtabError(
      "bad-tokenizer",
      "The model has no tokenizer.json, so that it cannot read or write text. Put one beside its weights.",
    );
  const tokenizerConfig = parse("tokenizer_config.json", texts["tokenizer_config.json"]);
  const generation = (parse("generation_config.json", texts["generation_config.json"]) ?? {}) as Record<
    string,
    unknown
  >;
  const tokenizer = loadTokenizer(parse("tokenizer.json", texts["tokenizer.json"]), tokenizerConfig);
  const source = pickChatTemplate({ tokenizerConfig, jinja: texts["chat_template.jinja"] });
  const { bosToken, eosToken } = tokenizer;
  let template: ChatTemplate | undefined;
  const render = (messages: readonly ChatMessage[], variables: TemplateVariables = {}): string => {
    if (source === undefined)
      throw new MixtabError(
        "bad-template",
        "The model has no chat template, so that it cannot chat. Put a chat_template.jinja beside its weights.",
      );
    template ??= loadChatTemplate(source, { bosToken, eosToken });
    return template.render(messages.map(asTemplateMessage), { ...variables, addGenerationPrompt: true });
  };
  const parting = partingOf(tokenizer, source ?? "");
  return {
    tokenizer,
    defaults: generation,
    stopIds: new Set([
      ...ids(generation.eos_token_id),
      ...ids((config as Record<string, unknown>).eos_token_id),
      ...ids(eosToken === undefined ? undefined : tokenizer.idOf(eosToken)),
    ]),
    render,
    prompt(messages, variables) {
      const text = render(messages, variables);
      return { ids: tokenizer.encode(text, { addSpecialTokens: false }), parting: parting(text) };
    },
  };
}

/** Templates read an earlier answer's reasoning as `reasoning_content`, gpt-oss's as `thinking`. */
function asTemplateMessage({ reasoning_content: reasoning, ...message }: ChatMessage): TemplateMessage {
  return reasoning ? { ...message, reasoning_content: reasoning, thinking: reasoning } : { ...message };
}

const ids = (value: unknown): number[] => [value].flat().filter((id): id is number => typeof id === "number");

function parse(file: string, text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MixtabError("bad-json", `${file} is not JSON. Check the file, or load the model again.`, error);
  }
}
