/**
 * Policies to compare ours with. Each is as in the literature: none guarantees a layer its share of
 * slots as ours does.
 */
import type { Policy, Shape } from "../../src/experts/policy.ts";
import type { Event, ExpertCache } from "./replay.ts";

type Needed = (id: number) => boolean;

/** The first of `ids` that is not needed. */
function firstFree(ids: Iterable<number>, needed: Needed): number | undefined {
  for (const id of ids) if (!needed(id)) return id;
  return undefined;
}

/** Evicts the least recently used expert. */
export class Lru implements Policy {
  /** The resident experts, the least recently used first. */
  protected readonly order = new Set<number>();

  resize(): void {}
  visit(): void {}

  touch(id: number): void {
    if (this.order.delete(id)) this.order.add(id);
  }

  insert(id: number): void {
    this.order.add(id);
  }

  remove(id: number): void {
    this.order.delete(id);
  }

  victim(_incoming: number, needed: Needed): number | undefined {
    return firstFree(this.order, needed);
  }
}

/**
 * Evicts the least often used expert; of equals, the least recently used. A use counts also after
 * the expert was evicted.
 */
export class Lfu extends Lru {
  private readonly counts = new Map<number, number>();

  override touch(id: number): void {
    this.counts.set(id, (this.counts.get(id) ?? 0) + 1);
    super.touch(id);
  }

  override victim(_incoming: number, needed: Needed): number | undefined {
    let found: number | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const id of this.order) {
      const count = this.counts.get(id) ?? 0;
      if (count >= least || needed(id)) continue;
      found = id;
      least = count;
    }
    return found;
  }
}

/**
 * Gives every layer its share of the slots. A layer evicts the least recently used of its own
 * experts.
 */
export class PerLayerLru extends Lru {
  private readonly shape: Shape;
  private readonly residents: number[];
  private slots = 0;

  constructor(shape: Shape) {
    super();
    this.shape = shape;
    this.residents = Array.from({ length: shape.layers }, () => 0);
  }

  override resize(slots = 0): void {
    this.slots = slots;
  }

  override insert(id: number): void {
    this.residents[this.layerOf(id)]!++;
    super.insert(id);
  }

  override remove(id: number): void {
    this.residents[this.layerOf(id)]!--;
    super.remove(id);
  }

  override victim(incoming: number, needed: Needed): number | undefined {
    const layer = this.layerOf(incoming);
    const full = this.residents[layer]! >= this.share(layer);
    const own = (id: number) => this.layerOf(id) === layer;
    const greedy = (id: number) => this.residents[this.layerOf(id)]! > this.share(this.layerOf(id));
    const fits = full ? own : greedy;
    return firstFree(this.order, (id) => needed(id) || !fits(id)) ?? firstFree(this.order, needed);
  }

  private layerOf(id: number): number {
    return Math.floor(id / this.shape.experts);
  }

  private share(layer: number): number {
    const { layers } = this.shape;
    return Math.floor(this.slots / layers) + Number(layer < this.slots % layers);
  }
}

/**
 * Adaptive replacement (Megiddo and Modha 2003). It keeps two lists of residents: used once, and
 * used again. Of both it also remembers the experts lately evicted (ghosts). A miss on a ghost
 * shifts slots to the list from which that expert was evicted.
 */
export class Arc implements Policy {
  private readonly once = new Set<number>();
  private readonly again = new Set<number>();
  private readonly ghostsOfOnce = new Set<number>();
  private readonly ghostsOfAgain = new Set<number>();
  private slots = 0;
  /** How many slots the list `once` should have. */
  private target = 0;

  resize(slots: number): void {
    this.slots = slots;
  }

  visit(): void {}

  touch(id: number): void {
    if (!this.once.delete(id) && !this.again.delete(id)) return;
    this.again.add(id);
  }

  victim(incoming: number, needed: Needed): number | undefined {
    const [b1, b2] = [this.ghostsOfOnce.size, this.ghostsOfAgain.size];
    if (this.ghostsOfOnce.has(incoming)) this.target = Math.min(this.slots, this.target + Math.max(1, b2 / b1));
    if (this.ghostsOfAgain.has(incoming)) this.target = Math.max(0, this.target - Math.max(1, b1 / b2));
    const first =
      this.once.size > this.target || (this.ghostsOfAgain.has(incoming) && this.once.size >= Math.max(1, this.target));
    const lists = first ? [this.once, this.again] : [this.again, this.once];
    return firstFree(lists[0]!, needed) ?? firstFree(lists[1]!, needed);
  }

  insert(id: number): void {
    const known = this.ghostsOfOnce.delete(id) || this.ghostsOfAgain.delete(id);
    (known ? this.again : this.once).add(id);
    this.trim(this.ghostsOfOnce, this.slots - this.once.size);
    const all = this.once.size + this.again.size + this.ghostsOfOnce.size;
    this.trim(this.ghostsOfAgain, 2 * this.slots - all);
  }

  remove(id: number): void {
    if (this.once.delete(id)) this.ghostsOfOnce.add(id);
    else if (this.again.delete(id)) this.ghostsOfAgain.add(id);
  }

  private trim(ghosts: Set<number>, most: number): void {
    for (const id of ghosts) {
      if (ghosts.size <= Math.max(0, most)) return;
      ghosts.delete(id);
    }
  }
}

/**
 * The optimum, which knows the future (Belady 1966). After an event it keeps, of the experts that
 * were there and those that the event brought, the ones that are needed soonest. Nothing has to
 * stay, not even what was just brought, so a pool with as many slots cannot do better.
 */
export class Belady implements ExpertCache {
  private readonly slots: number;
  /** By event, the index of the event at which each of its experts is needed next. */
  private readonly next = new Map<Event, readonly number[]>();
  /** The experts in the cache, and at which event each is needed next. */
  private readonly held = new Map<number, number>();

  constructor(events: readonly Event[], slots: number) {
    this.slots = slots;
    const coming = new Map<number, number>();
    for (let index = events.length - 1; index >= 0; index--) {
      const event = events[index]!;
      this.next.set(
        event,
        event.needed.map((id) => coming.get(id) ?? Number.POSITIVE_INFINITY),
      );
      for (const id of event.needed) coming.set(id, index);
    }
  }

  has(id: number): boolean {
    return this.held.has(id);
  }

  serve(event: Event): void {
    const next = this.next.get(event)!;
    for (const [index, id] of event.needed.entries()) this.held.set(id, next[index]!);
    while (this.held.size > this.slots) {
      let last: number | undefined;
      let farthest = -1;
      for (const [id, when] of this.held)
        if (when > farthest) {
          last = id;
          farthest = when;
        }
      this.held.delete(last!);
    }
  }
}
