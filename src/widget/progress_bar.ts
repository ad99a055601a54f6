import type { Progress } from "../index.ts";
import { button, h } from "./dom.ts";
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
  readonly #try: HTMLButtonElement;
  #quiet: ReturnType<typeof setTimeout> | undefined;
  #countdown: ReturnType<typeof setInterval> | undefined;

  /** `tryNow` is what the button does while requests wait before they are made again. */
  constructor(tryNow: () => void) {
    this.#bar.append(this.#fill);
    this.#try = button("Try now", "try-now", tryNow);
    this.#try.hidden = true;
    this.root = h("div", { class: "progress", part: "progress" }, this.#bar, this.#words, this.#try);
    this.root.hidden = true;
  }

  /**
   * Says why the loading waits and when it goes on, counted down; the button, which there is once an
   * engine is open, goes on at once.
   */
  interrupted({ reason, nextTryMs }: NonNullable<Progress["waiting"]>, isOpen: boolean): void {
    const until = performance.now() + nextTryMs;
    const tell = (): void => {
      const seconds = Math.max(0, Math.ceil((until - performance.now()) / 1000));
      this.#words.textContent = `Waiting to go on, next try in ${seconds} s. ${reason}`;
    };
    this.root.hidden = false;
    this.#bar.dataset.waiting = "";
    this.#bar.removeAttribute("aria-valuenow");
    this.#say("");
    tell();
    this.#bar.setAttribute("aria-valuetext", this.#words.textContent ?? "");
    this.#try.hidden = !isOpen;
    this.#countdown = setInterval(tell, QUIET_MS);
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
    this.#say("");
    this.root.hidden = true;
  }

  #say(words: string): void {
    this.#words.textContent = words;
    this.#bar.setAttribute("aria-valuetext", words);
    clearTimeout(this.#quiet);
    clearInterval(this.#countdown);
    this.#try.hidden = true;
  }
}

/** Where bytes come from, in words. */
export const sourceName = (from: Progress["from"]): string =>
  from === "network" ? "from network" : "from this browser’s store";
