import type { Wait } from "../source/waits.ts";
import type { Progress } from "./api.ts";

/** The speed is averaged over so much time. */
const WINDOW_MS = 3000;
/** The shortest time between two reports of bytes. */
const EVERY_MS = 100;

/** Adds up what has been loaded and reports it to a listener. */
export class ProgressMeter {
  totalBytes = 0;
  private loadedBytes = 0;
  private phase: Progress["phase"] = "opening";
  private from: Progress["from"] = "network";
  private wait: Wait | undefined;
  private lastEvent = Number.NEGATIVE_INFINITY;
  private readonly recent: { readonly at: number; readonly bytes: number }[] = [];
  private readonly listener: ((progress: Progress) => void) | undefined;

  constructor(listener: ((progress: Progress) => void) | undefined) {
    this.listener = listener;
  }

  enter(phase: Progress["phase"], from = this.from): void {
    this.phase = phase;
    this.from = from;
    if (phase === "done") {
      this.loadedBytes = this.totalBytes;
      this.wait = undefined;
    }
    this.tell();
  }

  /** Nothing more will be kept, though not all is: what was loaded stays as it is. */
  endEarly(warning: string): void {
    this.phase = "done";
    this.wait = undefined;
    this.tell(warning);
  }

  /**
   * To be called when bytes of the model have been loaded. `transferred`: they were moved just now,
   * so that they count for the speed. It is false for what the store already had.
   */
  loaded(bytes: number, from: Progress["from"], transferred = true): void {
    this.loadedBytes = Math.min(this.loadedBytes + bytes, this.totalBytes);
    this.from = from;
    const now = performance.now();
    if (transferred) this.recent.push({ at: now, bytes });
    if (now - this.lastEvent >= EVERY_MS) this.tell();
  }

  /** Requests wait before they are made again; undefined: no longer. */
  waiting(wait: Wait | undefined): void {
    if (this.phase === "done" || (!wait && !this.wait)) return;
    this.wait = wait;
    this.tell();
  }

  warn(warning: string): void {
    this.tell(warning);
  }

  private tell(warning?: string): void {
    const now = performance.now();
    this.lastEvent = now;
    while (this.recent.length > 0 && this.recent[0]!.at < now - WINDOW_MS) this.recent.shift();
    const bytes = this.recent.reduce((sum, entry) => sum + entry.bytes, 0);
    const seconds = Math.max(now - (this.recent[0]?.at ?? now), EVERY_MS) / 1000;
    const { phase, loadedBytes, totalBytes, from } = this;
    this.listener?.({
      phase,
      loadedBytes,
      totalBytes,
      bytesPerSecond: bytes / seconds,
      from,
      ...(this.wait && { waiting: { reason: this.wait.reason, nextTryMs: Math.max(0, this.wait.until - now) } }),
      ...(warning !== undefined && { warning }),
    });
  }
}
