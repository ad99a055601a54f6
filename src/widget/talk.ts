import { type ChatMessage, type Engine, MixtabError, type Stats } from "../index.ts";
import { type AnswerEnd, streamAnswer } from "./answer.ts";
import { Composer } from "./composer.ts";
import { type Exchange, messagesOf } from "./conversation.ts";
import { type AnswerView, ConversationView } from "./conversation_view.ts";
import type { Emit } from "./events.ts";
import type { AnswerCounts } from "./meter.ts";
import type { answerSettings } from "./settings.ts";

/** What `Talk` needs from the element around it. */
export interface TalkHost {
  /** Waits for the engine; if the model is changed meanwhile, for the new one. */
  engine(signal: AbortSignal): Promise<Engine>;
  /** The settings of the next answer. Errors: bad-request. */
  settings(): ReturnType<typeof answerSettings>;
  /** Shows an error; `retry` asks the question again. */
  fail(error: unknown, retry: () => void): void;
  /** Removes the failure of an earlier attempt, because a new one is made. */
  clearFailure(): void;
  /** Shows what the answer has cost so far. */
  counts(counts: AnswerCounts): void;
  /** Takes the pool's counters, while an answer is made and at its end. */
  stats(stats: Stats): void;
  readonly emit: Emit;
}

/**
 * The conversation: its turns, the answer being made, and the views of both. It goes on when the
 * engine is replaced.
 */
export class Talk {
  readonly view = new ConversationView();
  readonly composer: Composer;
  readonly #host: TalkHost;
  #exchanges: Exchange[] = [];
  #answering: { readonly abort: AbortController; streaming: boolean } | undefined;

  constructor(host: TalkHost) {
    this.#host = host;
    this.composer = new Composer({ send: (text) => void this.send(text), stop: () => this.stop() });
  }

  /** The messages so far. A stopped answer counts with the words it has. */
  get messages(): ChatMessage[] {
    return messagesOf(this.#exchanges);
  }

  /**
   * Asks a question, and resolves when the answer has ended, also if it failed or was stopped.
   * Errors: bad-request while another answer is made.
   */
  async send(question: string): Promise<void> {
    if (this.#answering)
      throw new MixtabError("bad-request", "An answer is being made: call stop() first, or wait for mixtab-answer.");
    const exchange = { question, answer: "" };
    const view = this.view.add(question);
    this.#exchanges.push(exchange);
    await this.#answer(exchange, view);
  }

  /** Stops the answer. Its words so far stay in the conversation. */
  stop(): void {
    this.#answering?.abort.abort(new DOMException("Stopped.", "AbortError"));
  }

  /**
   * To be called before an engine is closed. An answer that it is making ends; one that still waits
   * for an engine goes on waiting.
   */
  stopStreaming(): void {
    if (this.#answering?.streaming) this.stop();
  }

  /** Forgets the conversation. */
  clear(): void {
    this.stop();
    this.#exchanges = [];
    this.view.clear();
    this.composer.focus();
  }

  async #answer(exchange: Exchange, view: AnswerView): Promise<void> {
    const abort = new AbortController();
    const answering = { abort, streaming: false };
    this.#answering = answering;
    this.#busy(true);
    this.#host.clearFailure();
    exchange.answer = "";
    view.reset();
    try {
      const end = await this.#stream(exchange, view, answering);
      view.end(end);
      this.#host.emit("mixtab-answer", end);
    } catch (error) {
      if (abort.signal.aborted) view.end({ finish: "stopped" });
      else {
        view.fail();
        this.#host.fail(error, () => void this.#answer(exchange, view));
      }
    } finally {
      if (this.#answering === answering) {
        this.#answering = undefined;
        this.#busy(false);
      }
    }
  }

  async #stream(
    exchange: Exchange,
    view: AnswerView,
    answering: { readonly abort: AbortController; streaming: boolean },
  ): Promise<AnswerEnd> {
    const { signal } = answering.abort;
    view.wait("Waiting for the model…");
    const engine = await this.#host.engine(signal);
    answering.streaming = true;
    view.wait("Reading…");
    const earlier = this.#exchanges.slice(0, this.#exchanges.indexOf(exchange));
    const messages = [...messagesOf(earlier), { role: "user", content: exchange.question } as const];
    return streamAnswer(engine, { messages, ...this.#host.settings() }, signal, {
      text: (piece) => {
        exchange.answer += piece;
        view.append(piece);
      },
      reasoning: (piece) => view.think(piece),
      counts: (counts) => {
        view.count(counts);
        this.#host.counts(counts);
      },
      stats: (stats) => this.#host.stats(stats),
    });
  }

  #busy(answering: boolean): void {
    this.composer.busy(answering);
    this.view.busy(answering);
  }
}
