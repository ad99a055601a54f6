import { release } from "../base/release.ts";
import { unless } from "../source/sleep.ts";
import type { Part } from "./parts.ts";

interface Handlers {
  /** Puts a record, which is whole now, where records are kept. */
  keep(id: number, record: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Somebody waits for an expert of a window that may be the background's. */
  urge(): void;
  /** Nobody waits for any of it any more. */
  abandoned(stop: () => void): void;
}

interface Arrival {
  readonly record: Uint8Array<ArrayBuffer>;
  /** Bytes that are still to come, as they are published. */
  missing: number;
  /** Whether a reader waits for the record: it belongs to the first that did. */
  taken: boolean;
  /** Resolves when the record is whole and kept. */
  readonly whole: Promise<void>;
  readonly settle: { resolve(): void; reject(reason: unknown): void };
}

/** Experts that are fetched together. Readers may wait for one of them, the fill waits for all. */
export class Window {
  private readonly arrivals: ReadonlyMap<number, Arrival>;
  private readonly handlers: Handlers;
  private readonly stop = new AbortController();
  private waiting = 0;
  private readonly keeping: Promise<void>[] = [];
  /**
   * Resolves when all are kept; rejects with the first failure, when what had come whole is kept.
   */
  done = Promise.resolve();

  constructor(records: ReadonlyMap<number, Uint8Array<ArrayBuffer>>, handlers: Handlers) {
    this.arrivals = new Map([...records].map(([id, record]) => [id, expected(record)]));
    this.handlers = handlers;
  }

  get stopped(): AbortSignal {
    return this.stop.signal;
  }

  /** The parts of an expert, watched so that it is noticed when all have come. */
  watched(id: number, parts: readonly Part[]): Part[] {
    const arrival = this.arrivals.get(id)!;
    arrival.missing = parts.reduce((sum, { range }) => sum + range.end - range.begin, 0);
    return parts.map(({ range, accept }) => ({
      range,
      accept: (bytes) => {
        accept(bytes);
        arrival.missing -= bytes.length;
        if (arrival.missing === 0) this.keeping.push(this.keep(id, arrival));
      },
    }));
  }

  /** To be called once, with the reading of all parts. */
  run(reading: Promise<void>): void {
    this.done = this.end(reading);
    this.done.catch(() => {}); // there may be nobody who waits
  }

  private async end(reading: Promise<void>): Promise<void> {
    const all = [...this.arrivals.values()];
    try {
      await reading;
    } catch (error) {
      for (const { settle, missing } of all) if (missing > 0) settle.reject(error);
      await Promise.all(this.keeping);
      throw error;
    }
    await Promise.all(all.map(({ whole }) => whole));
  }

  /**
   * The record of an expert, once it is kept; it belongs to the caller. undefined if an earlier
   * caller has it.
   */
  async take(id: number, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const arrival = this.arrivals.get(id)!;
    const isFirst = !arrival.taken;
    arrival.taken = true;
    this.handlers.urge();
    await this.attend(arrival.whole, signal);
    return isFirst ? arrival.record : undefined;
  }

  /** Waits for all. */
  async all(signal: AbortSignal): Promise<void> {
    await this.attend(this.done, signal);
  }

  private async attend(work: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
    this.waiting++;
    try {
      await unless(signal, work);
    } finally {
      if (--this.waiting === 0) this.handlers.abandoned(() => this.stop.abort(signal?.reason));
    }
  }

  private async keep(id: number, arrival: Arrival): Promise<void> {
    try {
      await this.handlers.keep(id, arrival.record);
      if (!arrival.taken) release(arrival.record);
      arrival.settle.resolve();
    } catch (error) {
      arrival.settle.reject(error);
    }
  }
}

function expected(record: Uint8Array<ArrayBuffer>): Arrival {
  let settle!: Arrival["settle"];
  const whole = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  whole.catch(() => {}); // a window that failed says so itself
  return { record, missing: 0, taken: false, whole, settle };
}

/** How much is asked for at a time: twice as much where it comes soon, half as much where late. */
export class WindowSize {
  bytes: number;
  private readonly soonMs: number;
  private readonly lateMs: number;

  constructor(bytes: number, soonMs: number, lateMs: number) {
    this.bytes = bytes;
    this.soonMs = soonMs;
    this.lateMs = lateMs;
  }

  /** A window of so many bytes took so long. */
  note(bytes: number, ms: number): void {
    if (ms >= this.lateMs) this.bytes /= 2;
    else if (ms < this.soonMs && 2 * bytes >= this.bytes) this.bytes *= 2;
  }
}
