import { button, h } from "./dom.ts";
import type { Failure } from "./failure.ts";

/**
 * The boxes above the composer: one failure (an alert, with a way on) and the notes that the work
 * goes on despite something.
 */
export class Notice {
  readonly root: HTMLElement;
  readonly #alert = h("div", { role: "alert", class: "alert", part: "alert" });
  #shown: Failure | undefined;
  readonly #notes = h("div", { role: "status", class: "notes", part: "notes" });

  constructor() {
    this.root = h("div", { class: "notices" }, this.#alert, this.#notes);
  }

  /** Shows a failure, with a Retry button if there is something to retry. */
  fail(failure: Failure, retry?: () => void): void {
    const { code, message } = failure;
    this.#shown = failure;
    const words = h("p", {}, h("code", {}, code), " ", message);
    const again = button("Retry", "retry", () => {
      this.clearFailure();
      retry?.();
    });
    this.#alert.replaceChildren(words, ...(retry ? [again] : []));
  }

  /** Takes the failure away; if one is named, only that one. */
  clearFailure(only: Failure | undefined = this.#shown): void {
    if (only !== this.#shown) return;
    this.#shown = undefined;
    this.#alert.replaceChildren();
  }

  /** Adds a note, once. */
  note(text: string): void {
    const notes = [...this.#notes.children];
    if (!notes.some((note) => note.textContent === text)) this.#notes.append(h("p", {}, text));
  }

  /** Takes everything away. */
  clear(): void {
    this.clearFailure();
    this.#notes.replaceChildren();
  }
}
