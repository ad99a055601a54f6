import type { AnswerEnd } from "./answer.ts";
import { button, h, workingDots } from "./dom.ts";
import type { AnswerCounts } from "./meter.ts";
import { formatBytes, formatCount, formatRate, formatShare } from "./numbers.ts";
import { ratesOf } from "./rates.ts";

const NEAR_BOTTOM_PX = 32;

/**
 * The log of questions and answers. It scrolls along with new words only while the user is at the
 * bottom.
 */
export class ConversationView {
  readonly root: HTMLElement;
  readonly #log = h("div", {
    role: "log",
    "aria-live": "polite",
    "aria-label": "Conversation",
    tabindex: "0",
    class: "log",
  });
  readonly #prompts = h("div", { role: "group", "aria-label": "Suggestions", class: "prompts", part: "suggestions" });
  #following = true;

  constructor() {
    this.#log.part.add("log");
    this.root = h("div", { class: "conversation" }, this.#log, this.#prompts);
    this.#log.addEventListener("scroll", () => {
      this.#following = this.#atBottom();
    });
    new ResizeObserver(() => {
      if (this.#following) this.#log.scrollTop = this.#log.scrollHeight;
    }).observe(this.#log);
  }

  /** Offers first messages as buttons, which are shown while the conversation is empty. */
  suggest(prompts: readonly string[], choose: (prompt: string) => void): void {
    this.#prompts.replaceChildren(...prompts.map((prompt) => button(prompt, "suggestion", () => choose(prompt))));
  }

  /** Adds a question and the place of its answer. */
  add(question: string): AnswerView {
    this.#prompts.hidden = true;
    const asked = h("div", { class: "question", part: "question" }, h("span", { class: "unseen" }, "You: "), question);
    const answer = new AnswerView((change) => this.#follow(change));
    this.#log.append(asked, answer.root);
    this.#following = true;
    this.#log.scrollTop = this.#log.scrollHeight;
    return answer;
  }

  /** Marks the log as busy, so that a screen reader waits for the whole answer. */
  busy(answering: boolean): void {
    this.#log.setAttribute("aria-busy", String(answering));
  }

  /** Empties the conversation and shows the suggestions again. */
  clear(): void {
    this.#log.replaceChildren();
    this.#prompts.hidden = false;
  }

  #follow(change: () => void): void {
    this.#following = this.#atBottom();
    change();
    if (this.#following) this.#log.scrollTop = this.#log.scrollHeight;
  }

  #atBottom(): boolean {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    return scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
  }
}

/** One answer: its text as it is written, what it cost, and how it ended. */
export class AnswerView {
  readonly root: HTMLElement;
  readonly #text = document.createTextNode("");
  readonly #thoughts = document.createTextNode("");
  /** Folded; it is there only if the model thinks before it answers. */
  readonly #reasoning = h(
    "details",
    { class: "reasoning", part: "reasoning", hidden: "" },
    h("summary", {}, "Reasoning"),
    h("div", { class: "thoughts" }, this.#thoughts),
  );
  readonly #state = h("p", { class: "state" });
  readonly #costs = h("p", { class: "costs", part: "costs" });
  readonly #follow: (change: () => void) => void;

  constructor(follow: (change: () => void) => void) {
    this.#follow = follow;
    const words = h("div", { class: "text", part: "answer" }, this.#text);
    this.root = h(
      "article",
      { class: "answer", "aria-label": "Answer" },
      this.#reasoning,
      words,
      this.#state,
      this.#costs,
    );
  }

  /** Shows what the model is doing, while there are no words yet. */
  wait(what: string): void {
    this.#follow(() => this.#state.replaceChildren(workingDots(), ` ${what}`));
  }

  /** Adds a piece of reasoning, and says meanwhile that the model thinks. */
  think(piece: string): void {
    if (this.#thoughts.length === 0) this.wait("Thinking…");
    this.#follow(() => {
      this.#reasoning.hidden = false;
      this.#thoughts.appendData(piece);
    });
  }

  /** Adds a piece of text. */
  append(piece: string): void {
    this.#follow(() => {
      this.#state.replaceChildren();
      this.#text.appendData(piece);
    });
  }

  /**
   * Shows how many tokens the answer has so far, and how fast they come. What the pool does for
   * them is shown by the gauges meanwhile.
   */
  count(counts: AnswerCounts): void {
    this.#show(counts.tokens, speedOf(counts));
  }

  /** Shows how the answer ended, with words only if it was cut off or stopped. */
  end({ finish, counts }: Pick<AnswerEnd, "finish"> & Partial<AnswerEnd>): void {
    const words = { stop: "", length: "Cut off at the longest answer allowed.", stopped: "Stopped." }[finish];
    this.root.dataset.finish = finish;
    this.#follow(() => this.#state.replaceChildren(words));
    if (counts) this.#show(counts.tokens, [...speedOf(counts), ...costsOf(counts)]);
  }

  /** Shows that the answer failed, before its first word or after. */
  fail(): void {
    this.root.dataset.finish = "failed";
    this.#follow(() => this.#state.replaceChildren(this.#text.length > 0 ? "Broken off." : "No answer."));
  }

  /** Empties the answer, because the question is asked again. */
  reset(): void {
    delete this.root.dataset.finish;
    this.#text.data = "";
    this.#thoughts.data = "";
    this.#reasoning.hidden = true;
    this.#costs.textContent = "";
  }

  #show(tokens: number, parts: readonly string[]): void {
    if (tokens > 0) this.#follow(() => (this.#costs.textContent = parts.join(" · ")));
  }
}

function speedOf({ tokens, tokensPerSecond }: AnswerCounts): string[] {
  const parts = [`${formatCount(tokens)} ${tokens === 1 ? "token" : "tokens"}`];
  if (tokensPerSecond > 0) parts.push(`${formatRate(tokensPerSecond)} tokens/s`);
  return parts;
}

function costsOf({ decode, promptTokens, cachedTokens }: AnswerCounts): string[] {
  const { hits, misses } = decode;
  const { hitRate, bytesPerToken = 0, passesPerToken = 0 } = ratesOf(decode);
  const parts: string[] = [];
  if (hitRate !== undefined)
    parts.push(
      `${formatShare(hits, hits + misses)} hits`,
      `${formatBytes(bytesPerToken)} per token`,
      `${formatRate(passesPerToken)} passes per token`,
    );
  if (promptTokens !== undefined && cachedTokens) parts.push(`${cachedTokens} of ${promptTokens} prompt tokens reused`);
  return parts;
}
