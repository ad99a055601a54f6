import type { ModelInfo } from "../src/index.ts";
import { h } from "../src/widget/dom.ts";
import { formatBytes } from "../src/widget/numbers.ts";

/** Slot counts to choose from: from one token's experts in one layer up to all of the model's, with `slots` among them. */
export function budgetSteps({
  experts,
  layers,
  top,
  slots,
}: Pick<ModelInfo, "experts" | "layers" | "top" | "slots">): number[] {
  const all = experts * layers;
  const wanted = [top, 2 * top, layers * top, all / 4, all / 2, (3 * all) / 4, all, slots];
  const steps = new Set(wanted.map(Math.round).filter((count) => count >= top && count <= all));
  return [...steps].sort((a, b) => a - b);
}

/** A slider over {@link budgetSteps}; it tells the widget's `budget` attribute. */
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
  readonly #value = h("output", { for: "slots" }, "To be chosen once a model is open.");
  #info: ModelInfo | undefined;
  #steps: number[] = [];

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
        "Fewer: more to bring in, so slower. The answer is the same, bit for bit. Moving it opens the model anew and keeps the conversation.",
      ),
    );
    this.#slider.addEventListener("input", () => this.#describe());
    this.#slider.addEventListener("change", () => {
      const slots = this.#chosen();
      if (this.#info && slots !== undefined)
        choose(slots === this.#steps.at(-1) ? "all" : String(slots * this.#info.recordBytes));
    });
  }

  /** The choices that a model offers, and where it stands. */
  show(info: ModelInfo): void {
    this.#info = info;
    this.#steps = budgetSteps(info);
    this.#slider.disabled = this.#steps.length < 2;
    this.#slider.max = String(Math.max(0, this.#steps.length - 1));
    this.#slider.value = String(this.#steps.indexOf(Math.min(info.slots, this.#steps.at(-1) ?? 0)));
    this.#describe();
  }

  #chosen(): number | undefined {
    return this.#steps[Number(this.#slider.value)];
  }

  #describe(): void {
    const slots = this.#chosen();
    if (!this.#info || slots === undefined) {
      this.#value.textContent = "This model has no experts.";
      return;
    }
    const { experts, layers, recordBytes } = this.#info;
    const all = experts * layers;
    const size = formatBytes(slots * recordBytes);
    const words =
      slots === all ? `everything resident: ${all} experts, ${size}` : `${slots} slots for ${all} experts, ${size}`;
    this.#value.textContent = words;
    this.#slider.setAttribute("aria-valuetext", words);
  }
}
