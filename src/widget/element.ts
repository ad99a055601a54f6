import {
  type ChatMessage,
  type Engine,
  type EngineOptions,
  MixtabError,
  type ModelReference,
  type Stats,
} from "../index.ts";
import { Budget } from "./budget.ts";
import { button, h } from "./dom.ts";
import { EngineSlot } from "./engine_slot.ts";
import { emitter } from "./events.ts";
import { endsTheEngine, type Failure, failureOf, worthARetry } from "./failure.ts";
import { Gauges } from "./gauges.ts";
import { Loading } from "./loading.ts";
import { Notice } from "./notice.ts";
import { answerSettings, DEFAULT_BUDGET_BYTES, ENGINE_ATTRIBUTES, engineSettings, parseBudget } from "./settings.ts";
import { styleSheet } from "./styles.ts";
import { Talk } from "./talk.ts";

const SUGGESTIONS = ["Tell me a story about a dog.", "Hello!", "Who are you?"];

/**
 * `<mixtab-chat model="…" budget="2GB">`: a conversation with a model that runs in this browser.
 * Attributes: `model` (a folder's URL, or `owner/name` on the Hub), `budget` ("2GB", "64MB", a
 * number of bytes, "all", "auto"; a change takes effect at once, even while an answer is made),
 * `context-length`, `device` ("auto", "gpu", "cpu"), `temperature`, `max-tokens`. The element sends
 * the events {@link ChatEvents}, and takes its colours from the custom properties of palette.css.
 */
export class MixtabChat extends HTMLElement {
  static readonly observedAttributes: readonly string[] = ENGINE_ATTRIBUTES;

  readonly #emit = emitter(this);
  readonly #slot = new EngineSlot();
  readonly #notice = new Notice();
  readonly #loading = new Loading(this.#notice, () => this.#slot.tryNow());
  readonly #gauges = new Gauges();
  readonly #budget: Budget;
  readonly #talk: Talk;
  #options: EngineOptions = {};
  #files: ModelReference | undefined;
  #opened: Promise<Engine> | undefined;
  #openFailure: Failure | undefined;
  #afterOpening: (() => void) | undefined;
  #stale = true;
  #scheduled = false;

  constructor() {
    super();
    this.#talk = new Talk({
      engine: (signal) => this.#newest(signal),
      settings: () => answerSettings(this),
      fail: (error, retry) => this.#answerFailed(error, retry),
      clearFailure: () => this.#notice.clearFailure(),
      counts: ({ decode }) => this.#gauges.count(decode),
      stats: (stats) => this.#show(stats),
      emit: this.#emit,
    });
    this.#budget = new Budget({
      wish: () => this.getAttribute("budget"),
      write: (wish) => (wish === null ? this.removeAttribute("budget") : this.setAttribute("budget", wish)),
      bytes: (wish) => parseBudget(wish) ?? this.#options.budgetBytes ?? DEFAULT_BUDGET_BYTES,
      engine: () => this.#opened,
      reopen: () => this.#reopen(),
      show: (stats) => this.#show(stats),
      notice: this.#notice,
      emit: this.#emit,
    });
    const fresh = button("New chat", "new-chat", () => this.newChat());
    const root = this.attachShadow({ mode: "open", delegatesFocus: true });
    root.adoptedStyleSheets = [styleSheet()];
    root.append(
      h("header", { class: "top", part: "header" }, this.#loading.status, fresh),
      this.#talk.view.root,
      this.#gauges.root,
      h("footer", { class: "below" }, this.#loading.bar.root, this.#notice.root, this.#talk.composer.root),
    );
    root.addEventListener("keydown", (event) => {
      if ((event as KeyboardEvent).key === "Escape") this.stop();
    });
    this.suggestions = SUGGESTIONS;
  }

  connectedCallback(): void {
    for (const name of ["model", "engineOptions", "suggestions"] as const) this.#adopt(name);
    this.#schedule();
  }

  disconnectedCallback(): void {
    this.#schedule();
  }

  attributeChangedCallback(name: string, old: string | null, now: string | null): void {
    if (old === now) return;
    if (name === "model") this.#files = undefined;
    if (name === "budget") this.#schedule();
    else this.#reopen();
  }

  /**
   * The model: what the attribute names, or files by name (see `ModelReference`), which can be
   * given only by this property.
   */
  get model(): ModelReference | undefined {
    return this.#files ?? this.getAttribute("model") ?? undefined;
  }

  set model(model: ModelReference) {
    if (typeof model === "string") {
      this.setAttribute("model", model);
      return;
    }
    this.#files = model;
    this.#reopen();
  }

  /**
   * More options for `createEngine`. Where an attribute says otherwise, the attribute counts.
   * Setting the options opens the engine anew.
   */
  get engineOptions(): EngineOptions {
    return this.#options;
  }

  set engineOptions(options: EngineOptions) {
    this.#options = options;
    this.#reopen();
  }

  /** First messages that are offered as buttons while the conversation is empty. */
  set suggestions(prompts: readonly string[]) {
    this.#talk.view.suggest(prompts, (prompt) => {
      this.#talk.composer.focus();
      void this.send(prompt);
    });
  }

  /**
   * A promise of the engine in use, which resolves when the engine is open; undefined if there is
   * none. The element closes the engine when it is removed from the page, or when another model is
   * named.
   */
  get engine(): Promise<Engine> | undefined {
    return this.#opened;
  }

  /** The conversation so far. */
  get messages(): ChatMessage[] {
    return this.#talk.messages;
  }

  /**
   * Sends a message as if the user had typed it; resolves when the answer has ended. Errors:
   * bad-request while another answer is made.
   */
  send(text: string): Promise<void> {
    return this.#talk.send(text);
  }

  /** Stops the answer. The words it has so far stay. */
  stop(): void {
    this.#talk.stop();
  }

  /** Forgets the conversation. The model stays open. */
  newChat(): void {
    this.#afterOpening = undefined;
    if (!this.#openFailure) this.#notice.clearFailure();
    this.#gauges.reset();
    this.#talk.clear();
  }

  /**
   * Sets a property anew that the page had set before this class was defined. Such a value lies on
   * the element itself and hides the accessor.
   */
  #adopt(name: "model" | "engineOptions" | "suggestions"): void {
    if (!Object.hasOwn(this, name)) return;
    const value = Reflect.get(this, name);
    Reflect.deleteProperty(this, name);
    Reflect.set(this, name, value);
  }

  #reopen(): void {
    this.#stale = true;
    this.#schedule();
  }

  /**
   * Acts once on all changes that a page makes in one task. Moving the element within the page,
   * which removes and inserts it, is therefore no change.
   */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (!this.isConnected) this.#close();
      else if (this.#stale) void this.#open();
      else void this.#budget.follow();
    });
  }

  #close(): void {
    this.#stale = true;
    this.#talk.stop();
    this.#opened = undefined;
    void this.#slot.close();
  }

  async #open(): Promise<void> {
    this.#stale = false;
    this.#openFailure = undefined;
    this.#talk.stopStreaming();
    this.#notice.clear();
    this.#gauges.hide();
    this.#loading.begin();
    this.#budget.begin();
    const opened = this.#load();
    this.#opened = opened;
    try {
      const engine = await opened;
      const stats = await engine.stats();
      if (this.#opened !== opened) return;
      this.#loading.ready(engine.info, this.getAttribute("device") ?? "auto");
      this.#gauges.begin(engine.info);
      this.#emit("mixtab-ready", engine.info);
      this.#show(stats);
      const next = this.#afterOpening;
      this.#afterOpening = undefined;
      next?.();
    } catch (error) {
      if (this.#opened !== opened) return;
      this.#openFailure = failureOf(error);
      this.#loading.failed();
      this.#fail(this.#openFailure, () => void this.#open());
    }
  }

  async #load(): Promise<Engine> {
    const model = this.model;
    if (!model)
      throw new MixtabError(
        "bad-request",
        'No model is named: write <mixtab-chat model="a folder’s URL, or owner/name">.',
      );
    const onProgress: EngineOptions["onProgress"] = (progress) => {
      this.#options.onProgress?.(progress);
      this.#loading.progress(progress);
      this.#emit("mixtab-progress", progress);
    };
    return this.#slot.open(model, { ...this.#options, ...engineSettings(this), onProgress });
  }

  #show(stats: Stats): void {
    this.#gauges.mode(stats);
    this.#emit("mixtab-stats", stats);
  }

  /** Waits for the engine; if it is replaced meanwhile, for the new one. */
  async #newest(signal: AbortSignal): Promise<Engine> {
    const stopped = new Promise<never>((_, reject) =>
      signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
    );
    for (;;) {
      const opened = this.#opened;
      if (!opened)
        throw new MixtabError("closed", "This chat is not part of a page: add the element to the document first.");
      const result = await Promise.race([opened, stopped]).catch((error: unknown) => ({ error }));
      if (opened !== this.#opened && !signal.aborted) continue;
      if ("error" in result) throw result.error;
      return result;
    }
  }

  #answerFailed(error: unknown, retry: () => void): void {
    const failure = failureOf(error);
    const reopen = (): void => void this.#open();
    const ofOpening = this.#openFailure?.cause === error;
    if (ofOpening || endsTheEngine(failure)) this.#afterOpening = retry;
    if (ofOpening) this.#notice.fail(failure, worthARetry(failure) ? reopen : undefined);
    else this.#fail(failure, endsTheEngine(failure) ? reopen : retry);
  }

  #fail(failure: Failure, retry: () => void): void {
    this.#notice.fail(failure, worthARetry(failure) ? retry : undefined);
    this.#emit("mixtab-error", failure);
  }
}
