/**
 * Parts what a model says into its reasoning and its answer. There are two ways in which models mark
 * them: tags around the reasoning (`<think>…</think>`), and channels (OpenAI's harmony format, which
 * gpt-oss speaks).
 */
import { beginning } from "../base/beginning.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A piece of text, and whether it belongs to the reasoning or to the answer. */
export interface Said {
  readonly part: "reasoning" | "content";
  readonly text: string;
}

/** Takes an answer token by token. */
export interface Parting {
  /** `text`: what the token added to the decoded text, without special tokens. */
  push(id: number, text: string): Said[];
  /** The answer ends with `text`: gives that and all that was held back. */
  flush(text: string): Said[];
  /** Whether the next token would belong to the reasoning. */
  readonly isReasoning: boolean;
}

/** Tags that models put around their reasoning: Qwen and DeepSeek, Magistral, Kimi, Seed, Command A. */
const TAGS: readonly (readonly [open: string, close: string])[] = [
  ["<think>", "</think>"],
  ["[THINK]", "[/THINK]"],
  ["◁think▷", "◁/think▷"],
  ["<seed:think>", "</seed:think>"],
  ["<|START_THINKING|>", "<|END_THINKING|>"],
];

/**
 * How the answers of a model are parted, by the tokens it knows and the tags its template names.
 * `prompt`: the rendered prompt; where the template has opened the reasoning already, the answer
 * begins within it.
 */
export function partingOf(tokenizer: Tokenizer, template: string): (prompt: string) => Parting {
  const [channel, message] = ["<|channel|>", "<|message|>"].map((token) => tokenizer.idOf(token));
  if (channel !== undefined && message !== undefined) return () => new Channels(tokenizer);
  const tags = TAGS.filter(
    ([open, close]) => template.includes(close) || [open, close].every((tag) => tokenizer.idOf(tag) !== undefined),
  );
  if (tags.length === 0) return () => whole;
  return (prompt) => new Tagged(tokenizer, tags, prompt);
}

const whole: Parting = {
  push: (_id, text) => said("content", text),
  flush: (text) => said("content", text),
  isReasoning: false,
};

/** A piece of text, if there is any. */
export const said = (part: Said["part"], text: string): Said[] => (text === "" ? [] : [{ part, text }]);

/**
 * Reasoning between tags at the begin of an answer; tags further on are text. White space after a
 * tag belongs to nobody.
 */
class Tagged implements Parting {
  private readonly tags: typeof TAGS;
  /** The texts of the tags that are special tokens, which decoded text does not have. */
  private readonly special: ReadonlyMap<number, string>;
  /** The tag that is waited for: one that opens, the one that closes, none any more. */
  private state: "begin" | { readonly close: string } | "content" = "begin";
  private held = "";
  /** Whether white space is dropped, since only a tag came before it. */
  private fresh = true;

  constructor(tokenizer: Tokenizer, tags: typeof TAGS, prompt: string) {
    this.tags = tags;
    const ids = tags.flat().map((tag) => [tokenizer.idOf(tag), tag] as const);
    this.special = new Map(
      ids.filter((entry): entry is [number, string] => {
        const [id] = entry;
        return id !== undefined && tokenizer.decode([id], { skipSpecialTokens: true }) === "";
      }),
    );
    const opened = tags.find(([open]) => prompt.trimEnd().endsWith(open));
    if (opened) this.state = { close: opened[1] };
  }

  push(id: number, text: string): Said[] {
    this.held += text + (this.special.get(id) ?? "");
    return this.take(false);
  }

  flush(text: string): Said[] {
    this.held += text;
    return this.take(true);
  }

  get isReasoning(): boolean {
    return typeof this.state === "object";
  }

  private take(atEnd: boolean): Said[] {
    if (this.fresh && this.state !== "begin") this.held = this.held.trimStart();
    if (this.state === "begin") {
      const begin = this.held.trimStart();
      const tag = this.tags.find(([open]) => begin.startsWith(open));
      if (tag) {
        this.held = begin.slice(tag[0].length);
        this.state = { close: tag[1] };
        return this.take(atEnd);
      }
      if (!atEnd && this.tags.some(([open]) => open.startsWith(begin))) return [];
      this.state = "content";
      this.fresh = false;
    }
    if (this.state === "content") return this.show("content", this.held.length);
    const { close } = this.state;
    const at = this.held.indexOf(close);
    if (at < 0) return this.show("reasoning", this.held.length - (atEnd ? 0 : beginning(this.held, [close])));
    const reasoning = this.show("reasoning", at);
    this.held = this.held.slice(close.length);
    this.state = "content";
    this.fresh = true;
    return [...reasoning, ...this.take(atEnd)];
  }

  /** Takes `length` characters of what is held. */
  private show(part: Said["part"], length: number): Said[] {
    const text = this.held.slice(0, length);
    this.held = this.held.slice(length);
    if (text !== "") this.fresh = false;
    return said(part, text);
  }
}

/**
 * Messages with a header, `<|channel|>analysis<|message|>…<|end|>`: the channel `analysis` is
 * reasoning, any other is the answer. The prompt ends within a header.
 */
class Channels implements Parting {
  private readonly marks: ReadonlyMap<number, string>;
  private place: "header" | "body" = "header";
  private header = "";

  constructor(tokenizer: Tokenizer) {
    const marks = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>"];
    const ids = marks.map((mark) => [tokenizer.idOf(mark), mark] as const);
    this.marks = new Map(ids.filter((entry): entry is [number, string] => entry[0] !== undefined));
  }

  push(id: number, text: string): Said[] {
    const before = this.add(text);
    const mark = this.marks.get(id);
    if (mark === "<|message|>") this.place = "body";
    else if (mark !== undefined) {
      if (this.place === "body" || mark === "<|start|>") this.header = "";
      this.place = "header";
      this.header += mark;
    }
    return before;
  }

  flush(text: string): Said[] {
    return this.add(text);
  }

  get isReasoning(): boolean {
    return this.place === "body" && this.channel === "analysis";
  }

  private add(text: string): Said[] {
    if (this.place === "body") return said(this.isReasoning ? "reasoning" : "content", text);
    this.header += text;
    return [];
  }

  private get channel(): string | undefined {
    return /<\|channel\|>\s*(\w+)/.exec(this.header)?.[1];
  }
}
