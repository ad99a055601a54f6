import type { Engine, Stats } from "../index.ts";
import type { Emit } from "./events.ts";
import { type Failure, failureOf } from "./failure.ts";
import type { Notice } from "./notice.ts";
import { formatBytes } from "./numbers.ts";

/** What is around a budget that may change. */
export interface BudgetHost {
  /** What the attribute says now. */
  wish(): string | null;
  /** Writes the attribute. */
  write(wish: string | null): void;
  /** A wish as the engine takes it. Errors: bad-request. */
  bytes(wish: string | null): number | "auto";
  /** The engine in use or being opened; none where the element is in no page. */
  engine(): Promise<Engine> | undefined;
  /** Opens the engine anew: there is none whose budget could change. */
  reopen(): void;
  /** The pool is another. */
  show(stats: Stats): void;
  readonly notice: Pick<Notice, "fail" | "clearFailure">;
  readonly emit: Emit;
}

/**
 * Brings the engine's budget to what the attribute says: one change at a time, and then the newest
 * wish, not those between.
 */
export class Budget {
  readonly #host: BudgetHost;
  #held: string | null = null;
  #following = false;
  #failure: Failure | undefined;

  constructor(host: BudgetHost) {
    this.#host = host;
  }

  /** An engine is opened with what the attribute says. */
  begin(): void {
    this.#held = this.#host.wish();
  }

  /** The attribute has changed. */
  async follow(): Promise<void> {
    if (this.#following) return;
    this.#following = true;
    while (this.#host.wish() !== this.#held) if (!(await this.#change())) break;
    this.#following = false;
  }

  /**
   * Whether to look for another wish. Where the engine is replaced meanwhile, the new one was
   * opened with the newest.
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
   * Says what holds now, unless it does not any more: the slots that there really are, which a
   * device may limit.
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
