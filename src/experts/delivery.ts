import { assert, defined } from "../base/assert.ts";
import { members } from "../base/bits.ts";
import { NONE } from "../ops/ops.ts";

/** What a delivery asks of the pool. Experts by number. */
export interface Shelf {
  /** NONE: not resident. */
  slotOf(id: number): number;
  /** Takes a slot for an expert, or undefined: all hold experts that are needed. */
  reserve(id: number, needed: (id: number) => boolean): number | undefined;
  /** Evicts an expert; its slot is reserved. */
  vacate(id: number): number;
  cancel(slot: number): void;
  /**
   * Reads an expert into its reserved slot, where it is resident then; gives the slot back where
   * that fails.
   */
  fetch(id: number, slot: number): Promise<void>;
  /** The end of a read that is under way already, if there is one. */
  underWay(id: number): Promise<void> | undefined;
}

/**
 * Brings the experts that a stalled layer misses, in ascending order, each once. Victims are chosen
 * at once, as far as there are any; what does not fit then takes over the slot of the first that
 * was brought as soon as no chunk waits for that one any more. So which experts stay does not
 * depend on timing.
 */
export class Delivery {
  private readonly shelf: Shelf;
  private readonly first: number;
  private readonly readsAtOnce: number;
  private readonly signal: AbortSignal | undefined;
  /** Those that have a slot, not read yet. */
  private readonly placed: { readonly id: number; readonly slot: number }[] = [];
  /** Those that wait for a slot. */
  private readonly waiting: number[] = [];
  /** Those that were given a slot here and still lie in it, the first first. */
  private readonly brought: number[] = [];
  private needed: ReadonlySet<number>;
  private readonly reads = new Set<Promise<void>>();
  private readonly failures: unknown[] = [];
  private ring = () => {};

  /** `pending`: bits of the experts of `layer`, `experts` to a layer, that chunks wait for. */
  constructor(
    shelf: Shelf,
    { layer, experts, pending }: { layer: number; experts: number; pending: Uint32Array },
    readsAtOnce: number,
    signal: AbortSignal | undefined,
  ) {
    this.shelf = shelf;
    this.first = layer * experts;
    this.readsAtOnce = readsAtOnce;
    this.signal = signal;
    const ids = members(pending).map((expert) => this.first + expert);
    this.needed = new Set(ids);
    for (const id of ids) {
      if (shelf.slotOf(id) !== NONE) continue;
      const read = shelf.underWay(id);
      if (read) this.follow(read.then(() => this.again(id)));
      else this.waiting.push(id);
    }
    this.place();
    this.read();
  }

  /** Whether anything is on its way. */
  get reading(): boolean {
    return this.reads.size > 0;
  }

  /** Whether any of a layer's experts is there. */
  holdsAny(pending: Uint32Array): boolean {
    return members(pending).some((expert) => this.shelf.slotOf(this.first + expert) !== NONE);
  }

  /** Resolves when something has come. Rejects if a read failed or the signal aborts. */
  async arrival(): Promise<void> {
    this.throwFailure();
    assert(this.reading, "something is on its way");
    await new Promise<void>((resolve) => {
      this.ring = resolve;
    });
    this.throwFailure();
  }

  /** From now on chunks wait only for `pending`. */
  consumed(pending: Uint32Array): void {
    this.needed = new Set(members(pending).map((expert) => this.first + expert));
    this.place();
    this.read();
  }

  /** Waits for what is on its way, and gives back what was not used. */
  async end(): Promise<void> {
    this.waiting.length = 0;
    for (const { slot } of this.placed.splice(0)) this.shelf.cancel(slot);
    while (this.reads.size > 0) await Promise.all(this.reads);
  }

  /** A read that others began may have failed. */
  private again(id: number): void {
    if (this.shelf.slotOf(id) !== NONE || this.failures.length > 0) return;
    this.waiting.unshift(id);
    this.place();
  }

  private place(): void {
    while (this.waiting.length > 0) {
      const id = defined(this.waiting[0], "one that waits");
      const slot = this.shelf.reserve(id, (other) => this.needed.has(other) || this.isOurs(other)) ?? this.takeOver();
      if (slot === undefined) return;
      this.waiting.shift();
      this.brought.push(id);
      this.placed.push({ id, slot });
    }
  }

  /** What was brought here is given up in the order in which it came, not as the policy would. */
  private isOurs(id: number): boolean {
    return this.brought.includes(id);
  }

  private takeOver(): number | undefined {
    const [oldest] = this.brought;
    if (oldest === undefined || this.needed.has(oldest)) return undefined;
    this.brought.shift();
    return this.shelf.vacate(oldest);
  }

  private read(): void {
    while (this.placed.length > 0 && this.reads.size < this.readsAtOnce) {
      if (this.failures.length > 0) return;
      try {
        this.signal?.throwIfAborted();
      } catch (error) {
        this.failures.push(error);
        return;
      }
      const { id, slot } = this.placed.shift()!;
      this.follow(this.shelf.fetch(id, slot));
    }
  }

  private follow(read: Promise<void>): void {
    const done: Promise<void> = read
      .catch((error) => {
        this.failures.push(error);
      })
      .then(() => {
        this.reads.delete(done);
        this.read();
        this.ring();
      });
    this.reads.add(done);
  }

  private throwFailure(): void {
    if (this.failures.length > 0) throw this.failures[0];
  }
}
