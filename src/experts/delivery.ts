import { assert, defined } from "../base/assert.ts";
import { members } from "../base/bits.ts";
import { NONE } from "../ops/ops.ts";

/** What a delivery asks of the pool. `id` is an expert's number, layer * E + expert. */
export interface Shelf {
  /** The slot of an expert; NONE if it is not resident. */
  slotOf(id: number): number;
  /**
   * Reserves a slot for an expert. undefined: every slot is reserved or holds an expert that is
   * `needed`.
   */
  reserve(id: number, needed: (id: number) => boolean): number | undefined;
  /** Evicts an expert and returns its slot, which is reserved from then on. */
  vacate(id: number): number;
  cancel(slot: number): void;
  /**
   * Reads an expert into its reserved slot and makes it resident. If the read fails, the slot is
   * free again.
   */
  fetch(id: number, slot: number): Promise<void>;
  /**
   * If prefetch is reading the expert already: a promise that resolves when that read has ended, be
   * it with a failure.
   */
  underWay(id: number): Promise<void> | undefined;
}

/**
 * Reads the experts that a stalled layer misses, in ascending order, each once. At the start each
 * missing expert gets a slot, as long as there are experts to evict. Where there are fewer slots
 * than missing experts, a further expert takes over the slot of the one that this delivery placed
 * first, as soon as no chunk waits for that one any more. So which experts stay resident does not
 * depend on timing. Example: 1, 3 and 5 are missing and there are two slots. 1 and 3 get them, and
 * 5 takes over the slot of 1 once every chunk has used 1.
 */
export class Delivery {
  private readonly shelf: Shelf;
  private readonly first: number;
  private readonly readsAtOnce: number;
  private readonly signal: AbortSignal | undefined;
  /** Experts that have a slot and are still to be read. */
  private readonly placed: { readonly id: number; readonly slot: number }[] = [];
  /** Experts that wait for a slot. */
  private readonly waiting: number[] = [];
  /**
   * Experts that this delivery placed and that still have their slot, in the order of placement.
   */
  private readonly brought: number[] = [];
  private needed: ReadonlySet<number>;
  private readonly reads = new Set<Promise<void>>();
  private readonly failures: unknown[] = [];
  private ring = () => {};

  /**
   * `pending`: bits of the experts of `layer` for which chunks wait. `experts`: E, by which experts
   * are numbered.
   */
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

  /** Whether any expert is being read. */
  get reading(): boolean {
    return this.reads.size > 0;
  }

  /** Whether any of the layer's experts in `pending` is resident. */
  holdsAny(pending: Uint32Array): boolean {
    return members(pending).some((expert) => this.shelf.slotOf(this.first + expert) !== NONE);
  }

  /** Resolves when the next read has ended. Rejects if a read failed or the signal aborted. */
  async arrival(): Promise<void> {
    this.throwFailure();
    assert(this.reading, "something is on its way");
    await new Promise<void>((resolve) => {
      this.ring = resolve;
    });
    this.throwFailure();
  }

  /**
   * To be called when chunks have been served: from now on they wait only for `pending`, and the
   * slots of other experts may be taken over.
   */
  consumed(pending: Uint32Array): void {
    this.needed = new Set(members(pending).map((expert) => this.first + expert));
    this.place();
    this.read();
  }

  /** Waits for the reads under way, and frees the slots of experts that were not read. */
  async end(): Promise<void> {
    this.waiting.length = 0;
    for (const { slot } of this.placed.splice(0)) this.shelf.cancel(slot);
    while (this.reads.size > 0) await Promise.all(this.reads);
  }

  /** After a read by prefetch: if it failed, the expert is still missing and is read here. */
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

  /**
   * Whether this delivery placed an expert. Such experts are hidden from the policy; they give up
   * their slots in the order of placement (`takeOver`).
   */
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
