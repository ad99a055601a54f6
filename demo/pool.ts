import type { ModelInfo, Stats } from "../src/index.ts";
import { CountersTable } from "../src/widget/counters.ts";
import { h } from "../src/widget/dom.ts";
import { MODE_LABELS } from "../src/widget/mode_labels.ts";
import { allExperts } from "./experts.ts";

const MOST_CELLS = 64;

/**
 * The state of the pool: one cell per expert (or, in a large model, per group of them), the mode in
 * which tokens are run, and the counters.
 */
export class PoolPanel {
  readonly root: HTMLElement;
  readonly #cells = h("div", { class: "cells", role: "img" });
  readonly #words = h("p", { class: "resident" }, "Nothing is loaded yet.");
  readonly #mode = h("strong");
  readonly #meaning = h("span");
  readonly #table = new CountersTable();
  #all = 0;

  constructor() {
    const mode = h("p", { class: "mode" }, this.#mode, " ", this.#meaning);
    this.root = h("div", { class: "pool" }, this.#cells, this.#words, mode, this.#table.root);
  }

  /** To be called when a model has opened. */
  begin(info: ModelInfo): void {
    this.#all = allExperts(info);
    this.#cells.replaceChildren(...Array.from({ length: Math.min(MOST_CELLS, this.#all) }, () => h("i")));
  }

  /** Shows new numbers. */
  show(stats: Stats): void {
    this.#table.show(stats);
    if (this.#all === 0) return;
    const { residentExperts, slots } = stats;
    this.#words.textContent = `${residentExperts} of ${this.#all} experts in memory, room for ${Math.min(slots, this.#all)}.`;
    this.#cells.setAttribute("aria-label", this.#words.textContent);
    const share = this.#cells.children.length / this.#all;
    [...this.#cells.children].forEach((cell, i) => {
      cell.className = i < residentExperts * share ? "held" : i < slots * share ? "free" : "";
    });
    const { name, meaning } = MODE_LABELS[stats.mode];
    this.#mode.textContent = `${name[0]?.toUpperCase()}${name.slice(1)}.`;
    this.#meaning.textContent = meaning;
  }
}
