import { createEngine, type Engine, type EngineOptions, type ModelReference } from "../index.ts";

/**
 * Holds one engine at most: the old one is closed, and has let go of its store, before the next one
 * opens.
 */
export class EngineSlot {
  #abort: AbortController | undefined;
  #created: Promise<Engine> | undefined;
  #closed: Promise<void> = Promise.resolve();

  /**
   * Closes what is open and opens `model`. A later `open` or `close` makes this one reject with an
   * AbortError.
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

  /**
   * Stops loading or answering and frees the device; resolves when that is done, and never rejects.
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
