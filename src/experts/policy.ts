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
  /** To be called when the number of slots has changed. */
  resize(slots: number): void;
  /**
   * To be called when a token (or the chunks of a segment together) comes to a layer; the calls of
   * `touch` that follow name the experts that it uses there.
   */
  visit(layer: number): void;
  /** To be called for an expert that is used, resident or not. */
  touch(id: number): void;
  /** To be called when an expert has become resident. */
  insert(id: number): void;
  /** To be called when an expert has been evicted. */
  remove(id: number): void;
  /**
   * The resident expert to evict for `incoming` (NONE: for none in particular): not one that is
   * `needed`, nor one whose chance of being used is `below` or more (default: any may go).
   * undefined: there is no such expert.
   */
  victim(incoming: number, needed: (id: number) => boolean, below?: number): number | undefined;
}

/**
 * After so many visits of its layer, a use of an expert counts half. On the recorded traces 12 to
 * 32 do as well, 4 and 64 do worse (bench/RESULTS.md).
 */
const HALF_LIFE_TOKENS = 16;
/**
 * What is added to the chance of an expert that the token before used. On the recorded traces most
 * such experts are used 0.1 to 0.15 more often than their count says. Hit rates are flat from 0.1
 * to 0.3; without it 2 to 4 percentage points are lost in a pool of two cycles (a cycle is as many
 * slots as one token uses experts).
 */
const AGAIN = 0.2;

/**
 * Evicts the expert whose next use is expected last, counted in tokens: the time until its layer's
 * turn, plus 1 / chance. The chance that a visit of its layer uses it is its share of the layer's
 * exponentially decayed uses, and more if the layer's last visit used it. Of equals the least
 * recently used goes, then the one with the lowest number. A layer keeps A experts where there are
 * slots for that in every layer. ARCHITECTURE.md works out an example.
 */
export class ExpectedUse implements Policy {
  private readonly shape: Shape;
  /** By layer, how often it was visited. */
  private readonly visits: Int32Array;
  /**
   * By expert: the decayed count as of its last use; the number of its layer's visit at that use;
   * the serial number of that use.
   */
  private readonly count: Float64Array;
  private readonly lastVisit: Int32Array;
  private readonly lastUse: Float64Array;
  private readonly resident: Uint8Array;
  /**
   * By layer: how many experts are resident; which of them to evict first, or UNKNOWN; in how many
   * visits that one's next use is expected (1 / chance).
   */
  private readonly residents: Int32Array;
  private readonly worst: Int32Array;
  private readonly wait: Float64Array;
  /** By age in visits, how much a use still counts. */
  private readonly decay: Float64Array;
  private readonly again: number;
  private floor = 0;
  /** The layer visited last. */
  private layer = 0;
  private uses = 0;

  /** `halfLife` and `again` can be given in order to study other values. */
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

  /** The estimated chance that the layer's next visit uses an expert. */
  chance(id: number): number {
    return this.chanceAt(id, this.visits[this.layerOf(id)]!);
  }

  private chanceAt(id: number, visit: number): number {
    const age = visit - this.lastVisit[id]!;
    const share = (1 - this.decay[1]!) * this.count[id]! * this.decayed(age);
    return age === 0 ? Math.min(1, this.again + share) : share;
  }

  /**
   * The victim among layers with more than `floor` residents, and among experts whose next use is
   * expected in more than `beyond` visits.
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

  /** The resident expert of a layer that has the smallest chance and is not needed, or UNKNOWN. */
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

  /** Whether, of two experts of a layer with these chances, `a` is evicted before `b`. */
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
