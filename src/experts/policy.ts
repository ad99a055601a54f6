/** The MoE layers of a model, as far as it matters which of their experts are resident. */
export interface Shape {
  readonly layers: number;
  /** E, of the layer with the most: experts are numbered layer * E + expert. */
  readonly experts: number;
  /** A, per token, of the layer with the most. */
  readonly top: number;
}

/** Decides which expert is evicted. Experts are known by their numbers, layer * E + expert. */
export interface Policy {
  /** There are so many slots now. */
  resize(slots: number): void;
  /**
   * A token (or the chunks of a segment together) comes to a layer; the touches that follow are its
   * uses there.
   */
  visit(layer: number): void;
  /** An expert is used, resident or not. */
  touch(id: number): void;
  /** An expert is resident from now on. */
  insert(id: number): void;
  /** An expert was evicted. */
  remove(id: number): void;
  /**
   * The resident expert to evict for `incoming` (NONE: for nobody), not one that is needed, nor one
   * whose chance is `below` or more (default: any may go). undefined: there is none.
   */
  victim(incoming: number, needed: (id: number) => boolean, below?: number): number | undefined;
}

/**
 * Visits of its layer after which a use counts half; on the recorded traces 12 to 32 do as well, 4
 * and 64 do worse (bench/RESULTS.md).
 */
const HALF_LIFE_TOKENS = 16;
/**
 * How much likelier than its count says an expert is used if the token before used it: by 0.1 to
 * 0.15 for most on the recorded traces. Hit rates are flat from 0.1 to
 * 0.3; without it 2 to 4 points are lost at two cycles.
 */
const AGAIN = 0.2;

/**
 * Evicts the expert whose next use is expected last: its layer's turn, and then as many tokens as
 * it takes at the chance that it is used by one. The chance is its share of the layer's
 * exponentially decayed uses, and more if the layer's last visit used it. Ties by least recent use,
 * then by number. A layer keeps A experts where the slots allow that to all.
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
  /**
   * By layer: residents; the one to go first, or UNKNOWN, and after how many visits it is expected.
   */
  private readonly residents: Int32Array;
  private readonly worst: Int32Array;
  private readonly wait: Float64Array;
  /** What a use counts after so many visits. */
  private readonly decay: Float64Array;
  private readonly again: number;
  private floor = 0;
  /** The layer visited last. */
  private layer = 0;
  private uses = 0;

  /** The constants can be given to study them. */
  constructor(shape: Shape, halfLife = HALF_LIFE_TOKENS, again = AGAIN) {
    const { layers, experts } = shape;
    this.shape = shape;
    this.count = new Float64Array(layers * experts);
    this.visits = new Int32Array(layers);
    this.lastVisit = new Int32Array(layers * experts).fill(NEVER);
    this.lastUse = new Float64Array(layers * experts).fill(-1);
    this.resident = new Uint8Array(layers * experts);
    this.residents = new Int32Array(layers);
    this.worst = new Int32Array(layers).fill(UNKNOWN);
    this.wait = new Float64Array(layers);
    this.decay = Float64Array.from({ length: 64 * halfLife }, (_, age) => 2 ** (-age / halfLife));
    this.again = again;
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
    const visit = this.visits[this.layerOf(id)]!;
    this.count[id] = 1 + this.count[id]! * this.decayed(visit - this.lastVisit[id]!);
    this.lastVisit[id] = visit;
    this.lastUse[id] = this.uses++;
  }

  insert(id: number): void {
    this.resident[id] = 1;
    const layer = this.layerOf(id);
    this.residents[layer]!++;
    const worst = this.worst[layer]!;
    if (worst !== UNKNOWN && this.goesBefore(id, this.chance(id), worst, this.chance(worst))) this.setWorst(layer, id);
  }

  remove(id: number): void {
    this.resident[id] = 0;
    const layer = this.layerOf(id);
    this.residents[layer]!--;
    if (this.worst[layer] === id) this.worst[layer] = UNKNOWN;
  }

  victim(_incoming: number, needed: (id: number) => boolean, below = Infinity): number | undefined {
    return this.victimOf(this.floor, needed, 1 / below) ?? this.victimOf(0, needed, 1 / below);
  }

  /** The chance that the layer's next visit uses an expert, as far as one can tell. */
  chance(id: number): number {
    return this.chanceAt(id, this.visits[this.layerOf(id)]!);
  }

  private chanceAt(id: number, visit: number): number {
    const age = visit - this.lastVisit[id]!;
    const share = (1 - this.decay[1]!) * this.count[id]! * this.decayed(age);
    return age === 0 ? Math.min(1, this.again + share) : share;
  }

  /**
   * Among layers with more than `floor` residents, and experts that are expected after more than
   * `beyond` visits.
   */
  private victimOf(floor: number, needed: (id: number) => boolean, beyond: number): number | undefined {
    const { layers } = this.shape;
    let found = UNKNOWN;
    let farthest = 0;
    for (let layer = 0; layer < layers; layer++) {
      if (this.residents[layer]! <= floor) continue;
      if (this.worst[layer] === UNKNOWN) this.setWorst(layer, this.scan(layer));
      if (this.wait[layer]! <= beyond) continue;
      let worst = this.worst[layer]!;
      const ahead = (layer > this.layer ? layer - this.layer : layer - this.layer + layers) / layers;
      let distance = ahead + this.wait[layer]!;
      if (!this.isFarther(worst, distance, found, farthest)) continue;
      if (needed(worst)) {
        worst = this.scan(layer, needed);
        if (worst === UNKNOWN) continue;
        const wait = 1 / this.chance(worst);
        if (wait <= beyond) continue;
        distance = ahead + wait;
        if (!this.isFarther(worst, distance, found, farthest)) continue;
      }
      found = worst;
      farthest = distance;
    }
    return found === UNKNOWN ? undefined : found;
  }

  private isFarther(a: number, distanceA: number, b: number, distanceB: number): boolean {
    return b === UNKNOWN || distanceA > distanceB || (distanceA === distanceB && this.isOlder(a, b));
  }

  private setWorst(layer: number, id: number): void {
    this.worst[layer] = id;
    this.wait[layer] = 1 / this.chance(id);
  }

  /** Of a layer, the resident expert with the smallest chance that is not needed. */
  private scan(layer: number, needed?: (id: number) => boolean): number {
    const { experts } = this.shape;
    const visit = this.visits[layer]!;
    let worst = UNKNOWN;
    let least = 0;
    for (let id = layer * experts; id < (layer + 1) * experts; id++) {
      if (this.resident[id] === 0) continue;
      const chance = this.chanceAt(id, visit);
      if (worst !== UNKNOWN && !this.goesBefore(id, chance, worst, least)) continue;
      if (needed?.(id)) continue;
      worst = id;
      least = chance;
    }
    return worst;
  }

  /** Whether of two experts of a layer, with their chances, the first is evicted first. */
  private goesBefore(a: number, chanceA: number, b: number, chanceB: number): boolean {
    return chanceA < chanceB || (chanceA === chanceB && this.isOlder(a, b));
  }

  private isOlder(a: number, b: number): boolean {
    const [useA, useB] = [this.lastUse[a]!, this.lastUse[b]!];
    return useA < useB || (useA === useB && a < b);
  }

  private decayed(age: number): number {
    return age < this.decay.length ? this.decay[age]! : 0;
  }

  private layerOf(id: number): number {
    return Math.floor(id / this.shape.experts);
  }
}

const UNKNOWN = -1;
const NEVER = -(2 ** 30);
