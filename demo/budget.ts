import type { ModelInfo } from "../src/index.ts";
import { h } from "../src/widget/dom.ts";
import { formatBytes } from "../src/widget/numbers.ts";
import { allExperts } from "./experts.ts";

/**
 * A slider for the budget. It goes from the smallest that works (the experts of one token in one
 * layer) to all experts. Each move sets the widget's attribute `budget`.
 */
export class BudgetChooser {
  readonly root: HTMLElement;
  readonly #slider = h("input", {
    type: "range",
    id: "slots",
    min: "0",
    max: "0",
    step: "1",
    "aria-describedby": "slots-note",
  });
  // A screen reader reads an output whenever it changes, and it has read the slider already.
  readonly #value = h("output", { for: "slots", "aria-live": "off" }, "To be chosen once a model is open.");
  #info: ModelInfo | undefined;

  constructor(choose: (budget: string) => void) {
    this.#slider.disabled = true;
    this.root = h(
      "div",
      { class: "budget" },
      h("label", { for: "slots" }, "Experts kept in memory"),
      this.#slider,
      this.#value,
      h(
        "p",
        { id: "slots-note" },
        "Fewer: more to bring in, so slower. The answer is the same, bit for bit: move it while one is being written.",
      ),
    );
    this.#slider.addEventListener("input", () => {
      this.#describe();
      const slots = Number(this.#slider.value);
      if (this.#info) choose(this.#slider.value === this.#slider.max ? "all" : String(slots * this.#info.recordBytes));
    });
  }

  /** Shows which budgets a model allows, and which one it has. */
  show(info: ModelInfo): void {
    this.#info = info;
    this.#slider.disabled = info.experts === 0;
    this.#slider.min = String(info.top);
    this.#slider.max = String(allExperts(info));
    this.#slider.value = String(info.slots);
    this.#describe();
  }

  #describe(): void {
    if (!this.#info) return;
    const slots = Number(this.#slider.value);
    const all = allExperts(this.#info);
    const size = formatBytes(slots * this.#info.recordBytes);
    const words = `room for ${slots === all ? "all" : `${slots} of`} ${all} experts, ${size}`;
    this.#value.textContent = words;
    this.#slider.setAttribute("aria-valuetext", words);
  }
}
