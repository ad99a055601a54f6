/**
 * Watches a stream of text for stop strings; what may be the beginning of one is held back until it
 * is known.
 */
export class StopStrings {
  private held = "";
  private readonly strings: readonly string[];

  constructor(strings: readonly string[]) {
    this.strings = strings;
  }

  /**
   * The text that can be shown now. `stopped`: a stop string came; it and all after it is dropped.
   */
  push(text: string): { text: string; stopped: boolean } {
    const all = this.held + text;
    const found = this.strings.map((stop) => all.indexOf(stop)).filter((at) => at >= 0);
    if (found.length > 0) {
      this.held = "";
      return { text: all.slice(0, Math.min(...found)), stopped: true };
    }
    const shown = all.length - this.longestBeginning(all);
    this.held = all.slice(shown);
    return { text: all.slice(0, shown), stopped: false };
  }

  /** What is still held when the stream ends. */
  flush(): string {
    const text = this.held;
    this.held = "";
    return text;
  }

  /** Length of the longest end of `text` that a stop string begins with. */
  private longestBeginning(text: string): number {
    const longest = Math.max(0, ...this.strings.map((stop) => stop.length - 1));
    for (let length = Math.min(longest, text.length); length > 0; length--)
      if (this.strings.some((stop) => stop.startsWith(text.slice(-length)))) return length;
    return 0;
  }
}
