import { createEngine, type Engine, type EngineOptions, type ModelReference } from "../index.ts";

/**
 * Holds at most one engine. The next one opens only after the old one is closed and has released
 * its store.
 */
export class EngineSlot {
  #abort: AbortController | undefined;
  #created: Promise<Engine> | undefined;
  #closed: Promise<void> = Promise.resolve();

  /**
   * Closes the engine that is open and opens one for `model`. A later `open` or `close` makes this
   * call reject with an AbortError.
   */
  async open(model: ModelReference, options: EngineOptions): Promise<Engine> {
    const closed = this.close();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const created = closed.then(() => {
      signal.throwIfAborted();
      return createEngine(model, { ...options, signal });
    });
    this.#created = created;
    const engine = await created;
    signal.throwIfAborted();
    return engine;
  }

  /** Has requests that wait made again, see `Engine.tryNow`. */
  tryNow(): void {
    this.#created?.then((engine) => engine.tryNow()).catch(() => {});
  }

  /**
   * Stops loading or answering and frees the device. Resolves when that is done, and never rejects.
   */
  close(): Promise<void> {
    this.#abort?.abort(new DOMException("The chat closed its engine.", "AbortError"));
    const created = this.#created;
    this.#created = undefined;
    if (created) {
      const ended = created.then((engine) => engine.close()).catch(() => {});
      this.#closed = Promise.all([this.#closed, ended]).then(() => {});
    }
    return this.#closed;
  }
}
