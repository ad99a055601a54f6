import type { Progress } from "../index.ts";
import { h } from "./dom.ts";
import { formatBytes } from "./numbers.ts";

const QUIET_MS = 1000;

/**
 * A progress bar with words: how many bytes, how fast, and where they come from. If nothing arrives
 * for a second, it says that it is waiting.
 */
export class ProgressBar {
  readonly root: HTMLElement;
  readonly #bar = h("div", {
    role: "progressbar",
    "aria-label": "Loading the model",
    "aria-valuemin": "0",
    class: "bar",
  });
  readonly #fill = h("div", { class: "fill" });
  readonly #words = h("p", { class: "words" });
  #quiet: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    this.#bar.append(this.#fill);
    this.root = h("div", { class: "progress", part: "progress" }, this.#bar, this.#words);
    this.root.hidden = true;
  }

  /** Shows a phase without numbers: the bar moves, and the words say what is going on. */
  waiting(words: string): void {
    this.root.hidden = false;
    this.#bar.dataset.waiting = "";
    this.#bar.removeAttribute("aria-valuenow");
    this.#say(words);
  }

  /** Shows how many bytes have arrived. `words` say what for. */
  show(progress: Progress, words: string): void {
    const { loadedBytes, totalBytes, bytesPerSecond, from } = progress;
    if (totalBytes <= 0) {
      this.waiting(words);
      return;
    }
    this.root.hidden = false;
    delete this.#bar.dataset.waiting;
    const percent = Math.min(100, (100 * loadedBytes) / totalBytes);
    this.#fill.style.inlineSize = `${percent}%`;
    this.#bar.setAttribute("aria-valuemax", "100");
    this.#bar.setAttribute("aria-valuenow", percent.toFixed(0));
    const source = loadedBytes > 0 ? ` · ${sourceName(from)}` : "";
    const speed = bytesPerSecond > 0 ? ` · ${formatBytes(bytesPerSecond)}/s` : "";
    this.#say(`${words} ${formatBytes(loadedBytes)} of ${formatBytes(totalBytes)}${speed}${source}`);
    this.#quiet = setTimeout(() => this.waiting(`${this.#words.textContent} · waiting for more…`), QUIET_MS);
  }

  /** Hides the bar. */
  hide(): void {
    clearTimeout(this.#quiet);
    this.root.hidden = true;
  }

  #say(words: string): void {
    this.#words.textContent = words;
    this.#bar.setAttribute("aria-valuetext", words);
    clearTimeout(this.#quiet);
  }
}

/** Where bytes come from, in words. */
export const sourceName = (from: Progress["from"]): string =>
  from === "network" ? "from network" : "from this browser’s store";
