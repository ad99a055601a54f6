import type { PoolCounters, Stats } from "../index.ts";
import { h } from "./dom.ts";
import { formatBytes, formatCount, formatMs, formatRate, formatShare, NOTHING_YET } from "./numbers.ts";

type CounterRow = readonly [name: string, title: string, value: (counters: PoolCounters) => string];

const perToken =
  (of: (counters: PoolCounters) => number, format: (share: number) => string): CounterRow[2] =>
  (counters) =>
    counters.tokens > 0 ? format(of(counters) / counters.tokens) : NOTHING_YET;

const ROWS: readonly CounterRow[] = [
  ["Tokens", "tokens read, and written", ({ tokens }) => formatCount(tokens)],
  ["Hit rate", "experts wanted that were resident", ({ hits, misses }) => formatShare(hits, hits + misses)],
  ["Hits", "experts wanted that were resident", ({ hits }) => formatCount(hits)],
  ["Misses", "experts wanted that were not resident", ({ misses }) => formatCount(misses)],
  ["Uploads", "experts copied to the device", ({ uploads }) => formatCount(uploads)],
  ["Uploaded", "bytes copied to the device", ({ uploadedBytes }) => formatBytes(uploadedBytes)],
  [
    "Read per token",
    "bytes copied to the device, by tokens",
    perToken(({ uploadedBytes }) => uploadedBytes, formatBytes),
  ],
  ["From store", "of these, from this browser's store", ({ bytesFromStore }) => formatBytes(bytesFromStore)],
  ["From network", "of these, from the network", ({ bytesFromNetwork }) => formatBytes(bytesFromNetwork)],
  ["Passes per token", "1 where nothing is missing", perToken(({ passes }) => passes, formatRate)],
  ["Time stalled", "waiting for experts", ({ stalledMs }) => formatMs(stalledMs)],
];

/**
 * A table of what the expert pool did since the model was opened: the prompts' part and the
 * answers' part side by side.
 */
export class CountersTable {
  readonly root: HTMLTableElement;
  readonly #cells: readonly (readonly [prompt: HTMLElement, answer: HTMLElement])[];

  constructor() {
    this.#cells = ROWS.map(() => [h("td", {}, NOTHING_YET), h("td", {}, NOTHING_YET)]);
    const column = (name: string): HTMLElement => h("th", { scope: "col" }, name);
    const rows = ROWS.map(([name, title], i) =>
      h("tr", { title }, h("th", { scope: "row" }, name), ...(this.#cells[i] ?? [])),
    );
    this.root = h(
      "table",
      { class: "counters" },
      h("thead", {}, h("tr", {}, h("td", {}, "since opening"), column("prompts"), column("answers"))),
      h("tbody", {}, ...rows),
    );
  }

  /** Shows new numbers. */
  show({ prefill, decode }: Stats): void {
    ROWS.forEach(([, , value], i) => {
      const [prompt, answer] = this.#cells[i] ?? [];
      if (prompt) prompt.textContent = value(prefill);
      if (answer) answer.textContent = value(decode);
    });
  }
}
