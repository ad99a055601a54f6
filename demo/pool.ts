import type { ModelInfo, Stats } from "../src/index.ts";
import { CountersTable } from "../src/widget/counters.ts";
import { h } from "../src/widget/dom.ts";

const MOST_CELLS = 64;

/** The pool as it stands, one cell per expert (or per share of them, in a large model), and its counters. */
export class PoolPanel {
  readonly root: HTMLElement;
  readonly #cells = h("div", { class: "cells", role: "img" });
  readonly #words = h("p", { class: "resident" }, "Nothing is loaded yet.");
  readonly #table = new CountersTable();
  #all = 0;

  constructor() {
    this.root = h("div", { class: "pool" }, this.#cells, this.#words, this.#table.root);
  }

  /** A model has opened. */
  begin({ experts, layers }: ModelInfo): void {
    this.#all = experts * layers;
    this.#cells.replaceChildren(...Array.from({ length: Math.min(MOST_CELLS, this.#all) }, () => h("i")));
  }

  /** New numbers. */
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
  }
}
