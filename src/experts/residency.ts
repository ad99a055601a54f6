import { assert } from "../base/assert.ts";
import { NONE } from "../ops/ops.ts";
import { ExpectedUse, type Policy, type Shape } from "./policy.ts";

/**
 * Keeps the books of which expert lies in which slot, without any bytes. The pool acts on it, and
 * the replay of a trace needs nothing else. An expert is known by its number, layer * E + expert.
 */
export class Residency {
  readonly shape: Shape;
  private readonly policy: Policy;
  /** By expert, its slot or NONE. */
  private readonly slots: Uint32Array;
  private free: number[] = [];
  private total = 0;
  private inSlots = 0;

  constructor(shape: Shape, count: number, policy: Policy = new ExpectedUse(shape)) {
    this.shape = shape;
    this.policy = policy;
    this.slots = new Uint32Array(shape.layers * shape.experts).fill(NONE);
    this.grow(count);
  }

  /** How many slots there are. */
  get count(): number {
    return this.total;
  }

  /** How many experts lie in a slot. */
  get size(): number {
    return this.inSlots;
  }

  /** The slot of an expert; NONE if it is not resident. */
  slotOf(id: number): number {
    return this.slots[id]!;
  }

  /** The experts that lie in a slot. */
  get residents(): number[] {
    return [...this.slots.keys()].filter((id) => this.slots[id] !== NONE);
  }

  /**
   * To be called when a token, or the chunks of a segment together, use experts of a layer,
   * resident or not.
   */
  use(layer: number, ids: readonly number[]): void {
    if (ids.length === 0) return;
    this.policy.visit(layer);
    for (const id of ids) this.policy.touch(id);
  }

  /**
   * Reserves a slot for an expert: a free one, else that of the expert that the policy evicts.
   * undefined: every slot is reserved, or holds an expert that is `needed` or whose chance of being
   * used is `below` or more. `settle` or `cancel` must follow.
   */
  reserve(
    id: number,
    needed: (id: number) => boolean,
    below?: number,
  ): { readonly slot: number; readonly evicted: number } | undefined {
    assert(this.slots[id] === NONE, "an expert that is resident needs no slot");
    const slot = this.free.pop();
    if (slot !== undefined) return { slot, evicted: NONE };
    const victim = this.policy.victim(id, needed, below);
    return victim === undefined ? undefined : { slot: this.vacate(victim), evicted: victim };
  }

  /** Makes an expert resident in its reserved slot. */
  settle(id: number, slot: number): void {
    assert(this.slots[id] === NONE, "an expert lies in one slot");
    this.slots[id] = slot;
    this.inSlots++;
    this.policy.insert(id);
  }

  /** Frees a reserved slot. */
  cancel(slot: number): void {
    this.free.push(slot);
  }

  grow(count: number): void {
    assert(count >= this.total, "more slots than before");
    for (let slot = this.total; slot < count; slot++) this.free.unshift(slot);
    this.total = count;
    this.policy.resize(count);
  }

  /**
   * Works out what giving up the slots from `count` on means: the least useful experts are evicted,
   * and others move to slots that stay. No slot may be reserved. Nothing changes before `commit`.
   */
  shrink(count: number): { readonly evicted: readonly number[]; readonly moved: readonly Move[]; commit(): void } {
    assert(count <= this.total && this.inSlots + this.free.length === this.total, "no slot is reserved");
    const evicted = new Set<number>();
    while (this.inSlots - evicted.size > count) {
      const id = this.policy.victim(NONE, () => false)!;
      this.policy.remove(id);
      evicted.add(id);
    }
    for (const id of evicted) this.policy.insert(id);
    const free = [...this.free, ...[...evicted].map((id) => this.slots[id]!)]
      .filter((slot) => slot < count)
      .sort((a, b) => b - a);
    const moved: Move[] = [];
    for (const [id, from] of this.slots.entries())
      if (from !== NONE && from >= count && !evicted.has(id)) moved.push({ id, from, to: free.pop()! });
    const commit = () => {
      for (const id of evicted) this.vacate(id);
      for (const { id, to } of moved) this.slots[id] = to;
      this.free = free;
      this.total = count;
      this.policy.resize(count);
    };
    return { evicted: [...evicted], moved, commit };
  }

  /** Evicts an expert and returns its slot, which is reserved from then on. */
  vacate(id: number): number {
    const slot = this.slots[id]!;
    this.policy.remove(id);
    this.slots[id] = NONE;
    this.inSlots--;
    return slot;
  }
}

/** The move of an expert from one slot to another. */
export interface Move {
  readonly id: number;
  readonly from: number;
  readonly to: number;
}
