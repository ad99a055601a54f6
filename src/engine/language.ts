import { MixtabError } from "../base/errors.ts";
import { type ChatTemplate, loadChatTemplate, pickChatTemplate } from "../text/chat_template.ts";
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
   * Errors: bad-template, bad-messages.
   */
  render(messages: readonly ChatMessage[]): string;
  /**
   * The ids of a conversation, up to the opening of the assistant's answer. Errors: bad-template,
   * bad-messages.
   */
  prompt(messages: readonly ChatMessage[]): number[];
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
  const render = (messages: readonly ChatMessage[]): string => {
    if (source === undefined)
      throw new MixtabError(
        "bad-template",
        "The model has no chat template, so that it cannot chat. Put a chat_template.jinja beside its weights.",
      );
    template ??= loadChatTemplate(source, { bosToken, eosToken });
    return template.render(
      messages.map((message) => ({ ...message })),
      { addGenerationPrompt: true },
    );
  };
  return {
    tokenizer,
    defaults: generation,
    stopIds: new Set([
      ...ids(generation.eos_token_id),
      ...ids((config as Record<string, unknown>).eos_token_id),
      ...ids(eosToken === undefined ? undefined : tokenizer.idOf(eosToken)),
    ]),
    render,
    prompt: (messages) => tokenizer.encode(render(messages), { addSpecialTokens: false }),
  };
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
