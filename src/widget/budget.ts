import type { Engine, Stats } from "../index.ts";
import type { Emit } from "./events.ts";
import { type Failure, failureOf } from "./failure.ts";
import type { Notice } from "./notice.ts";
import { formatBytes } from "./numbers.ts";

/** What `Budget` needs from the element around it. A wish is the text of the attribute `budget`. */
export interface BudgetHost {
  /** The attribute's text now. */
  wish(): string | null;
  /** Sets the attribute. */
  write(wish: string | null): void;
  /** Translates a wish into what the engine takes. Errors: bad-request. */
  bytes(wish: string | null): number | "auto";
  /** The engine in use or being opened; undefined if the element is in no page. */
  engine(): Promise<Engine> | undefined;
  /**
   * Opens the engine anew. It is called if opening failed, so that there is no engine whose budget
   * could change.
   */
  reopen(): void;
  /** Shows the pool as it is after the change. */
  show(stats: Stats): void;
  readonly notice: Pick<Notice, "fail" | "clearFailure">;
  readonly emit: Emit;
}

/**
 * Makes the engine's budget what the attribute says. It makes one change at a time. If the
 * attribute changes several times meanwhile, only its newest wish is followed up.
 */
export class Budget {
  readonly #host: BudgetHost;
  #held: string | null = null;
  #following = false;
  #failure: Failure | undefined;

  constructor(host: BudgetHost) {
    this.#host = host;
  }

  /** To be called when an engine is opened: its budget is what the attribute says then. */
  begin(): void {
    this.#held = this.#host.wish();
  }

  /** To be called when the attribute has changed. */
  async follow(): Promise<void> {
    if (this.#following) return;
    this.#following = true;
    while (this.#host.wish() !== this.#held) if (!(await this.#change())) break;
    this.#following = false;
  }

  /**
   * Makes one change, and returns whether there may be another wish to follow. If the engine was
   * replaced meanwhile, nothing is left to do: the new one was opened with the newest wish.
   */
  async #change(): Promise<boolean> {
    const host = this.#host;
    const opened = host.engine();
    if (!opened) return false;
    const engine = await opened.catch(() => undefined);
    if (opened !== host.engine()) return true;
    if (!engine) {
      host.reopen();
      return false;
    }
    const wish = host.wish();
    if (wish === this.#held) return true;
    let failure: Failure | undefined;
    try {
      await engine.setBudget(host.bytes(wish));
    } catch (error) {
      failure = failureOf(error);
    }
    if (opened !== host.engine()) return true;
    if (!failure) this.#held = wish;
    if (host.wish() !== wish) return true;
    if (failure) host.write(this.#held);
    await this.#tell(engine, failure, () => opened === host.engine() && host.wish() === this.#held);
    return true;
  }

  /**
   * Tells the page and the user what the budget is now, unless it is about to change again. It
   * reads the number of slots from the engine, since the device may allow fewer than were asked
   * for.
   */
  async #tell(engine: Engine, failure: Failure | undefined, holds: () => boolean): Promise<void> {
    const { notice, emit, show } = this.#host;
    const stats = await engine.stats().catch(() => undefined);
    if (!holds()) return;
    const info = { ...engine.info, ...(stats ? { slots: stats.slots } : {}) };
    if (this.#failure) notice.clearFailure(this.#failure);
    const held = ` The budget stays at ${formatBytes(info.slots * info.recordBytes)}.`;
    this.#failure = failure && { ...failure, message: `${failure.message}${stats ? held : ""}` };
    if (this.#failure) {
      notice.fail(this.#failure);
      emit("mixtab-error", this.#failure);
    }
    emit("mixtab-budget", info);
    if (stats) show(stats);
  }
}
