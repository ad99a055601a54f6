import type { Shape } from "./residency.ts";

/** Decides which expert is evicted. Experts are known by their numbers, layer * E + expert. */
export interface Policy {
  /** There are so many slots now. */
  resize(slots: number): void;
  /** A token (or the chunks of a segment together) comes to a layer; the touches that follow are its uses there. */
  visit(layer: number): void;
  /** An expert is used, resident or not. */
  touch(id: number): void;
  /** An expert is resident from now on. */
  insert(id: number): void;
  /** An expert was evicted. */
  remove(id: number): void;
  /** The resident expert to evict for `incoming` (NONE: for nobody), not one that is needed. undefined: all are. */
  victim(incoming: number, needed: (id: number) => boolean): number | undefined;
}

/** Visits of its layer after which a use counts half; on the recorded traces 12 to 20 do as well, 4 and 64 do worse. */
const HALF_LIFE_TOKENS = 16;
/**
 * How much likelier an expert is used if the token before used it, beyond what its count says: a fifth to a quarter of those are, at any count, on both recorded
 * traces.
 */
const AGAIN = 0.2;

/**
 * Evicts the expert whose next use is expected last: its layer's turn, and then as many tokens as it takes at the chance that it is used by one. The chance is its
 * share of the layer's exponentially decayed uses, and more if the layer's last visit used it. Ties by least recent use. A layer keeps A experts where the slots
 * allow that to all.
 */
export class ExpectedUse implements Policy {
  private readonly shape: Shape;
  /** By layer, its visits. */
  private readonly visits: Int32Array;
  /** By expert: decayed count as of its last use; the visit of that; the number of that use. */
  private readonly count: Float64Array;
  private readonly lastVisit: Int32Array;
  private readonly lastUse: Float64Array;
  private readonly resident: Uint8Array;
  /** By layer: residents; the one to go first, or UNKNOWN. */
  private readonly residents: Int32Array;
  private readonly worst: Int32Array;
  /** What a use counts after so many visits. */
  private readonly decay: Float64Array;
  private floor = 0;
  /** The layer visited last. */
  private layer = 0;
  private uses = 0;

  constructor(shape: Shape, halfLife = HALF_LIFE_TOKENS) {
    const { layers, experts } = shape;
    this.shape = shape;
    this.count = new Float64Array(layers * experts);
    this.visits = new Int32Array(layers);
    this.lastVisit = new Int32Array(layers * experts).fill(NEVER);
    this.lastUse = new Float64Array(layers * experts).fill(-1);
    this.resident = new Uint8Array(layers * experts);
    this.residents = new Int32Array(layers);
    this.worst = new Int32Array(layers).fill(UNKNOWN);
    this.decay = Float64Array.from({ length: 64 * halfLife }, (_, age) => 2 ** (-age / halfLife));
  }

  resize(slots: number): void {
    const { layers, top } = this.shape;
    this.floor = slots >= layers * top ? top : 0;
  }

  visit(layer: number): void {
    this.layer = layer;
    this.visits[layer]!++;
    this.worst[layer] = UNKNOWN;
  }

  touch(id: number): void {
    this.count[id] = 1 + this.count[id]! * this.decayed(this.age(id));
    this.lastVisit[id] = this.visits[this.layerOf(id)]!;
    this.lastUse[id] = this.uses++;
  }

  insert(id: number): void {
    this.resident[id] = 1;
    const layer = this.layerOf(id);
    this.residents[layer]!++;
    this.worst[layer] = UNKNOWN;
  }

  remove(id: number): void {
    this.resident[id] = 0;
    const layer = this.layerOf(id);
    this.residents[layer]!--;
    this.worst[layer] = UNKNOWN;
  }

  victim(_incoming: number, needed: (id: number) => boolean): number | undefined {
    return this.victimOf(this.floor, needed) ?? this.victimOf(0, needed);
  }

  /** The chance that the layer's next visit uses an expert, as far as one can tell. */
  chance(id: number): number {
    const age = this.age(id);
    const share = (1 - this.decay[1]!) * this.count[id]! * this.decayed(age);
    return Math.min(1, age === 0 ? AGAIN + share : share);
  }

  /** Among layers with more than `floor` residents. */
  private victimOf(floor: number, needed: (id: number) => boolean): number | undefined {
    const { layers } = this.shape;
    let found: number | undefined;
    let farthest = 0;
    for (let layer = 0; layer < layers; layer++) {
      if (this.residents[layer]! <= floor) continue;
      let worst = this.worstOf(layer);
      if (needed(worst)) worst = this.scan(layer, needed);
      if (worst === UNKNOWN) continue;
      const distance = this.distance(worst);
      if (found === undefined || distance > farthest || (distance === farthest && this.isOlder(worst, found))) {
        found = worst;
        farthest = distance;
      }
    }
    return found;
  }

  /** In visits of its layer, how far the next use is expected to be. */
  private distance(id: number): number {
    const { layers } = this.shape;
    const ahead = (this.layerOf(id) - this.layer + layers) % layers || layers;
    return ahead / layers + 1 / this.chance(id);
  }

  private worstOf(layer: number): number {
    if (this.worst[layer] === UNKNOWN) this.worst[layer] = this.scan(layer, () => false);
    return this.worst[layer]!;
  }

  /** Of a layer, the resident expert with the smallest chance that is not needed. */
  private scan(layer: number, needed: (id: number) => boolean): number {
    const { experts } = this.shape;
    let worst = UNKNOWN;
    let least = 0;
    for (let id = layer * experts; id < (layer + 1) * experts; id++) {
      if (this.resident[id] === 0 || needed(id)) continue;
      const chance = this.chance(id);
      if (worst !== UNKNOWN && (chance > least || (chance === least && !this.isOlder(id, worst)))) continue;
      worst = id;
      least = chance;
    }
    return worst;
  }

  private isOlder(a: number, b: number): boolean {
    return this.lastUse[a]! < this.lastUse[b]!;
  }

  private decayed(age: number): number {
    return age < this.decay.length ? this.decay[age]! : 0;
  }

  /** Visits of its layer since its last use. */
  private age(id: number): number {
    return this.visits[this.layerOf(id)]! - this.lastVisit[id]!;
  }

  private layerOf(id: number): number {
    return Math.floor(id / this.shape.experts);
  }
}

const UNKNOWN = -1;
const NEVER = -(2 ** 30);
