import { beginning } from "../base/beginning.ts";

/**
 * Watches a stream of text for stop strings. Text that may be the beginning of one is held back
 * until more text decides. Example: with the stop string "END", "the EN" shows "the " and holds
 * "EN" back.
 */
export class StopStrings {
  private held = "";
  private readonly strings: readonly string[];

  constructor(strings: readonly string[]) {
    this.strings = strings;
  }

  /**
   * Takes a piece of text and returns what can be shown now. `stopped`: a stop string has come; it
   * is dropped, and so is all text after it.
   */
  push(text: string): { text: string; stopped: boolean } {
    const all = this.held + text;
    const found = this.strings.map((stop) => all.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.held = "";
      return { text: all.slice(0, Math.min(...found)), stopped: true };
    }
    const shown = all.length - beginning(all, this.strings);
    this.held = all.slice(shown);
    return { text: all.slice(0, shown), stopped: false };
  }

  /** The text that is still held back when the stream ends. */
  flush(): string {
    const text = this.held;
    this.held = "";
    return text;
  }
}
