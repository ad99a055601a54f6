import type { ModelInfo, PoolCounters, Stats } from "../index.ts";
import { h } from "./dom.ts";
import { MODE_LABELS } from "./mode_labels.ts";
import { formatBytesLike, NOTHING_YET } from "./numbers.ts";
import { ratesOf } from "./rates.ts";

/**
 * The strip between conversation and composer: what the expert pool does for the answer being made.
 * Not there in a dense model.
 */
export class Gauges {
  readonly root: HTMLElement;
  readonly #hits = h("dd", { class: "share" }, NOTHING_YET);
  readonly #bytes = h("dd", {}, NOTHING_YET);
  readonly #passes = h("dd", { class: "rate" }, NOTHING_YET);
  readonly #mode = h("span", { class: "mode" }, NOTHING_YET);
  readonly #meaning = h("span", { class: "unseen" });
  readonly #ofMode: HTMLElement;
  /**
   * What a token reads when nothing is in memory: numbers keep its unit, so that they do not jump.
   */
  #mostBytes = 0;

  constructor() {
    const gauge = (name: string, title: string, value: HTMLElement): HTMLElement =>
      h("div", { title }, h("dt", {}, name), value);
    this.#ofMode = gauge("Mode", "", h("dd", {}, this.#mode, this.#meaning));
    const list = h(
      "dl",
      { "aria-label": "Experts in this answer" },
      gauge("Hit rate", "Of the experts that this answer’s tokens wanted, those that were in memory", this.#hits),
      gauge("Read per token", "Bytes of experts brought into memory for each token of this answer", this.#bytes),
      gauge(
        "Passes per token",
        "How often the device was started for a token; 1 where nothing is missing",
        this.#passes,
      ),
      this.#ofMode,
    );
    this.root = h("div", { class: "gauges", part: "gauges" }, list);
    this.root.hidden = true;
  }

  /** A model is open. */
  begin({ experts, top, layers, recordBytes }: ModelInfo): void {
    this.root.hidden = experts === 0;
    this.#mostBytes = top * layers * recordBytes;
    this.#bytes.style.minInlineSize = `${formatBytesLike(this.#mostBytes, this.#mostBytes).length}ch`;
    this.reset();
  }

  /** No model is open. */
  hide(): void {
    this.root.hidden = true;
  }

  /** No answer has been made. */
  reset(): void {
    for (const value of [this.#hits, this.#bytes, this.#passes]) value.textContent = NOTHING_YET;
  }

  /** What an answer's own tokens have cost so far. */
  count(decode: PoolCounters): void {
    const { hitRate, bytesPerToken, passesPerToken } = ratesOf(decode);
    this.#hits.textContent = hitRate === undefined ? NOTHING_YET : `${wholePercent(hitRate)} %`;
    this.#bytes.textContent =
      bytesPerToken === undefined ? NOTHING_YET : formatBytesLike(bytesPerToken, this.#mostBytes);
    this.#passes.textContent = passesPerToken === undefined ? NOTHING_YET : passesPerToken.toFixed(1);
  }

  /** How the next token is run. */
  mode({ mode }: Stats): void {
    const { name, meaning } = MODE_LABELS[mode];
    if (this.#mode.textContent === name) return;
    this.#mode.textContent = name;
    this.#meaning.textContent = `: ${meaning}`;
    this.#ofMode.title = meaning;
  }
}

/** Never 100 of something short of it. */
const wholePercent = (share: number): number => (share < 1 ? Math.min(99, Math.round(100 * share)) : 100);
