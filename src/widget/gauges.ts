import type { ModelInfo, PoolCounters, Stats } from "../index.ts";
import { h } from "./dom.ts";
import { MODE_LABELS } from "./mode_labels.ts";
import { formatBytesLike, NOTHING_YET } from "./numbers.ts";
import { ratesOf } from "./rates.ts";

/**
 * The strip between conversation and composer, which shows what the expert pool does for the
 * current answer. It is hidden for a dense model.
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
   * The bytes that a token reads if none of its experts is resident. All numbers of this gauge are
   * in the unit of this one, so that the text does not jump.
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

  /** To be called when a model is open. */
  begin({ experts, top, layers, recordBytes }: ModelInfo): void {
    this.root.hidden = experts === 0;
    this.#mostBytes = top * layers * recordBytes;
    this.#bytes.style.minInlineSize = `${formatBytesLike(this.#mostBytes, this.#mostBytes).length}ch`;
    this.reset();
  }

  /** Hides the strip, as long as no model is open. */
  hide(): void {
    this.root.hidden = true;
  }

  /** Shows no numbers, as before the first answer. */
  reset(): void {
    for (const value of [this.#hits, this.#bytes, this.#passes]) value.textContent = NOTHING_YET;
  }

  /** Shows what an answer's own tokens, without those of the prompt, have cost so far. */
  count(decode: PoolCounters): void {
    const { hitRate, bytesPerToken, passesPerToken } = ratesOf(decode);
    this.#hits.textContent = hitRate === undefined ? NOTHING_YET : `${wholePercent(hitRate)} %`;
    this.#bytes.textContent =
      bytesPerToken === undefined ? NOTHING_YET : formatBytesLike(bytesPerToken, this.#mostBytes);
    this.#passes.textContent = passesPerToken === undefined ? NOTHING_YET : passesPerToken.toFixed(1);
  }

  /** Shows in which mode the next token will run. */
  mode({ mode }: Stats): void {
    const { name, meaning } = MODE_LABELS[mode];
    if (this.#mode.textContent === name) return;
    this.#mode.textContent = name;
    this.#meaning.textContent = `: ${meaning}`;
    this.#ofMode.title = meaning;
  }
}

/** A share in percent, rounded; 100 only if the share is whole. */
const wholePercent = (share: number): number => (share < 1 ? Math.min(99, Math.round(100 * share)) : 100);
