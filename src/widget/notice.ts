import { button, h } from "./dom.ts";
import { concernsStorage, type Failure } from "./failure.ts";
import { StoredList } from "./stored_list.ts";

/**
 * The boxes above the composer. One shows a failure (an alert, with a Retry button if that may
 * help); the other shows notes about problems despite which the work goes on. Where storage may be
 * the cause, what is stored can be seen and deleted.
 */
export class Notice {
  readonly root: HTMLElement;
  readonly #alert = h("div", { role: "alert", class: "alert", part: "alert" });
  #shown: Failure | undefined;
  readonly #notes = h("div", { role: "status", class: "notes", part: "notes" });

  readonly #stored = new StoredList();

  constructor() {
    this.root = h("div", { class: "notices" }, this.#alert, this.#notes, this.#stored.root);
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
    if (concernsStorage(failure)) this.#stored.show();
  }

  /** Removes the failure that is shown; if `only` is given, only if it is that one. */
  clearFailure(only: Failure | undefined = this.#shown): void {
    if (only !== this.#shown) return;
    this.#shown = undefined;
    this.#alert.replaceChildren();
  }

  /** Adds a note about what was loaded or stored. */
  warn(text: string): void {
    this.note(text);
    this.#stored.show();
  }

  /** Adds a note, unless the same text is there already. */
  note(text: string): void {
    const notes = [...this.#notes.children];
    if (!notes.some((note) => note.textContent === text)) this.#notes.append(h("p", {}, text));
  }

  /** Removes the failure and the notes. */
  clear(): void {
    this.clearFailure();
    this.#notes.replaceChildren();
    this.#stored.hide();
  }
}
