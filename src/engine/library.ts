import { assert } from "../base/assert.ts";
import { MixtabError } from "../base/errors.ts";
import { type ExpertBiases, type ExpertLayout, layExpert, type Matrix } from "../base/matrix.ts";
import type { Origin } from "../experts/counters.ts";
import type { Checkpoint, MatrixSource } from "../format/checkpoint.ts";
import type { ExpertsSpec } from "../layers/builder.ts";
import { unless } from "../source/sleep.ts";
import type { Source } from "../source/source.ts";
import type { Store } from "../store/store.ts";
import type { OnArrival } from "./arrival.ts";
import type { Connections } from "./connections.ts";
import { isCopied, joined, loadedPerPublished, matrixParts, type Part, readParts, type Write } from "./parts.ts";
import type { ProgressMeter } from "./progress.ts";
import { Window, WindowSize } from "./window.ts";

/** JS memory for records on their way: this much, or two records where they are larger. */
const MEMORY_BYTES = 32 * 1024 * 1024;

/** About this much is asked for at a time: what is under way delays an expert in demand. */
const WINDOW_MS = 1000;
/**
 * An expert in demand brings its missing neighbours along, which share its requests; more of them
 * where all together come in less than this.
 */
const SOON_MS = 250;
/** Of neighbours, before it is known how long they take: this much is soon there on any network. */
const FIRST_DEMAND_BYTES = 512 * 1024;

/** Where the parts of an expert are published, and the record they become. */
interface ExpertModule {
  readonly sources: readonly MatrixSource[]; // in the order of `partsOf`
  readonly layout: ExpertLayout;
}

/**
 * The experts of a model by (layer, expert): from the store, else from the source, which the
 * background fill empties into the store.
 */
export class ExpertLibrary {
  /** Length of the longest record. */
  readonly recordBytes: number;
  /** Of all records together. */
  readonly totalBytes: number;
  /** By MoE layer, what its experts are. */
  readonly layers: readonly ExpertsSpec[];

  /** Experts are numbered layer after layer, as the store's keys name them. */
  private readonly modules: readonly ExpertModule[];
  /** By layer, the number of its first expert. */
  private readonly first: readonly number[];
  private readonly source: Source;
  private readonly store: Store | null;
  private readonly prefix: string;
  private readonly meter: ProgressMeter;
  private readonly connections: Connections;
  private readonly closed: AbortSignal | undefined;
  private readonly stored = new Set<number>();
  /** By expert that is on its way, the window that brings it: nothing is fetched twice. */
  private readonly arriving = new Map<number, Window>();
  /** Experts that were demanded in this task and are to be fetched together. */
  private readonly wanted: number[] = [];
  private readonly fillSize: WindowSize;
  private readonly demandSize = new WindowSize(FIRST_DEMAND_BYTES, SOON_MS, WINDOW_MS);
  /** Experts that the meter has been told of. */
  private readonly told = new Set<number>();
  private quotaSpent = false;

  constructor(
    layers: readonly ExpertsSpec[],
    checkpoint: Checkpoint,
    onArrival: OnArrival,
    places: {
      source: Source;
      store: Store | null;
      prefix: string;
      connections: Connections;
      meter: ProgressMeter;
      /** Ends all requests. */
      closed?: AbortSignal | undefined;
    },
  ) {
    this.layers = layers;
    const modules = layers.map((spec, layer) => expertModules(spec, layer, checkpoint, onArrival));
    this.first = modules.map((_, layer) => modules.slice(0, layer).reduce((sum, { length }) => sum + length, 0));
    this.modules = modules.flat();
    this.recordBytes = this.modules.reduce((most, { layout }) => Math.max(most, layout.bytes), 0);
    this.totalBytes = this.modules.reduce((sum, { layout }) => sum + layout.bytes, 0);
    this.source = places.source;
    this.store = places.store;
    this.prefix = places.prefix;
    this.connections = places.connections;
    this.meter = places.meter;
    this.closed = places.closed;
    this.fillSize = new WindowSize(this.recordBytes, WINDOW_MS, WINDOW_MS);
  }

  /** A, of the layer with the most. */
  get top(): number {
    return Math.max(...this.layers.map(({ top }) => top));
  }

  /** Experts of all layers. */
  get count(): number {
    return this.modules.length;
  }

  /** The layout that all experts of a layer share. */
  layout(layer: number): ExpertLayout {
    return this.modules[this.first[layer]!]!.layout;
  }

  /** Of the records that are in the store. */
  get keptBytes(): number {
    return this.modules.reduce((sum, { layout }, id) => sum + (this.stored.has(id) ? layout.bytes : 0), 0);
  }

  /** Finds out which records an earlier visit, or another tab, has left. */
  async open(): Promise<void> {
    for (const key of (await this.store?.keys(`${this.prefix}expert/`)) ?? []) {
      const id = Number(key.slice(this.prefix.length + "expert/".length));
      this.stored.add(id);
      if (this.told.has(id)) continue;
      this.told.add(id);
      this.meter.loaded(this.modules[id]!.layout.bytes, "store", false);
    }
  }

  /**
   * The record of an expert, for the pool: ahead of the background fill. A damaged record is
   * fetched again; what was accepted of it before is void.
   */
  async read(
    layer: number,
    expert: number,
    accept: (offset: number, bytes: Uint8Array<ArrayBuffer>) => void,
    signal?: AbortSignal,
  ): Promise<Origin> {
    const id = this.first[layer]! + expert;
    for (;;) {
      if (this.store && this.stored.has(id)) {
        const { bytes } = this.modules[id]!.layout;
        // What an older version left may be longer than its slot.
        const fitting: typeof accept = (offset, slice) => {
          if (offset + slice.length <= bytes) accept(offset, slice);
        };
        if ((await this.store.read(this.key(id), fitting, signal)) === bytes) return "store";
        this.stored.delete(id);
        this.meter.warn(
          `The record of expert ${expert} in layer ${layer} could not be read back; it is fetched again.`,
        );
      }
      const window = this.arriving.get(id) ?? (await this.demand(id));
      const record = await window.take(id, signal);
      if (!record) continue; // another reader has taken it
      accept(0, record);
      return this.source.remote ? "network" : "memory";
    }
  }

  /** From now on what the store gives is checked again. */
  doubt(): void {
    this.store?.doubt();
  }

  /**
   * How many records the pool may read at once, so that they and one window of the fill fit the
   * memory they are given.
   */
  get readsAtOnce(): number {
    return this.recordBytes * 4 <= MEMORY_BYTES ? 2 : 1;
  }

  /**
   * Fills the store with every record that is missing. Resolves to whether all are there; false
   * where the quota is used up.
   */
  async fill(signal: AbortSignal): Promise<boolean> {
    if (!this.store) return false;
    await this.open();
    while (!this.quotaSpent) {
      const ids = this.nextWindow();
      if (ids.length > 0) await this.bring(ids, { inDemand: false }, this.fillSize).all(signal);
      else if (this.arriving.size > 0) await unless(signal, this.quiet());
      else return true;
    }
    return false;
  }

  /** Resolves when what is under way has come, or has failed. */
  async quiet(): Promise<void> {
    await Promise.allSettled([...this.arriving.values()].map(({ done }) => done));
  }

  /**
   * The first missing experts in a row that are not on their way, as many as the window's size and
   * the memory allow, at least one.
   */
  private nextWindow(): number[] {
    const spare = Math.min(this.fillSize.bytes, this.roomBytes - this.readsAtOnce * this.recordBytes);
    const window: number[] = [];
    let bytes = 0;
    for (const [id, { layout }] of this.modules.entries()) {
      if (!this.isMissing(id)) {
        if (window.length > 0) break;
        continue;
      }
      bytes += layout.bytes;
      if (window.length > 0 && bytes > spare) break;
      window.push(id);
    }
    return window;
  }

  /** Whether an expert is neither stored nor on its way. */
  private isMissing(id: number): boolean {
    return !this.stored.has(id) && !this.arriving.has(id);
  }

  /** Of the memory for records on their way, what is left. */
  private get roomBytes(): number {
    return [...this.arriving.keys()].reduce((room, id) => room - this.modules[id]!.layout.bytes, MEMORY_BYTES);
  }

  /** Resolves to the window that brings an expert, together with others demanded in this task. */
  private async demand(id: number): Promise<Window> {
    this.wanted.push(id);
    await Promise.resolve();
    const ids = new Set(this.wanted.splice(0).filter((wanted) => !this.arriving.has(wanted)));
    if (ids.size > 0) {
      const window = this.bring(this.withNeighbours([...ids]), { inDemand: true }, this.demandSize);
      this.connections.demand(() => window.done).catch(() => {});
    }
    return this.arriving.get(id)!;
  }

  /**
   * The experts that are demanded, and where they are kept, the missing ones next to the first of
   * them in its layer, as many as are soon there.
   */
  private withNeighbours(ids: readonly number[]): number[] {
    if (!this.store || this.quotaSpent) return [...ids];
    const first = Math.min(...ids);
    const begin = this.first.findLast((number) => number <= first)!;
    const end = this.first.find((number) => number > first) ?? this.count;
    const behind = Array.from({ length: end - first }, (_, index) => first + index);
    const before = Array.from({ length: first - begin }, (_, index) => first - 1 - index);
    const window = [...ids];
    let room = Math.min(this.demandSize.bytes, this.roomBytes);
    for (const id of ids) room -= this.modules[id]!.layout.bytes;
    for (const id of [...behind, ...before]) {
      if (window.includes(id) || !this.isMissing(id)) continue;
      room -= this.modules[id]!.layout.bytes;
      if (room < 0) break;
      window.push(id);
    }
    return window;
  }

  /** Starts to fetch experts; each is kept as soon as it is whole. */
  private bring(ids: readonly number[], purpose: { inDemand: boolean }, size: WindowSize): Window {
    const records = new Map(ids.map((id) => [id, new Uint8Array(this.modules[id]!.layout.bytes)]));
    const { connections, arriving } = this;
    const goesOn = purpose.inDemand && this.store !== null && !this.quotaSpent;
    const began = performance.now();
    const window = new Window(records, {
      keep: async (id, record) => {
        await this.keep(id, record);
        arriving.delete(id);
      },
      urge() {
        purpose.inDemand = true;
        connections.wake();
      },
      // An answer that was stopped stops nothing that the fill would have to fetch again.
      abandoned(stop) {
        if (goesOn) return;
        forget();
        stop();
      },
    });
    const forget = () => {
      for (const id of ids) if (arriving.get(id) === window) arriving.delete(id);
    };
    for (const id of ids) arriving.set(id, window);
    const parts = ids.flatMap((id) => {
      const own = this.counted(id, this.parts(id, records.get(id)!));
      return window.watched(id, own);
    });
    const signal = this.closed ? AbortSignal.any([this.closed, window.stopped]) : window.stopped;
    window.run(readParts(parts, { source: this.source, connections, purpose, signal }));
    const bytes = [...records.values()].reduce((sum, { length }) => sum + length, 0);
    window.done.then(() => size.note(bytes, performance.now() - began), forget);
    return window;
  }

  /**
   * Tells the meter of an expert's bytes as they arrive, the first time it is fetched: it may be
   * demanded while the fill is at it.
   */
  private counted(id: number, parts: readonly Part[]): readonly Part[] {
    if (!this.store || this.quotaSpent || this.told.has(id)) return parts;
    this.told.add(id);
    const ratio = loadedPerPublished([this.modules[id]!.layout.bytes], parts);
    return parts.map(({ range, accept }) => ({
      range,
      accept: (bytes) => {
        this.meter.loaded(bytes.length * ratio, "network");
        accept(bytes);
      },
    }));
  }

  private parts(id: number, record: Uint8Array<ArrayBuffer>): Part[] {
    const { sources, layout } = this.modules[id]!;
    const write: Write = (offset, bytes) => record.set(bytes, offset);
    return joined(partsOf(layout).flatMap((matrix, index) => matrixParts(sources[index]!, matrix, write)));
  }

  private async keep(id: number, record: Uint8Array<ArrayBuffer>): Promise<void> {
    if (!this.store || this.quotaSpent || this.stored.has(id)) return;
    try {
      await this.store.put(this.key(id), record);
      this.stored.add(id);
    } catch (error) {
      if (!(error instanceof MixtabError)) throw error;
      this.quotaSpent = true;
      this.meter.warn(`${error.message} Experts that are not stored are fetched when they are needed.`);
    }
  }

  private key(id: number): string {
    return `${this.prefix}expert/${id}`;
  }
}

/**
 * Where the experts of a layer are published, and the records they become, which all have one
 * layout.
 */
function expertModules(spec: ExpertsSpec, layer: number, checkpoint: Checkpoint, onArrival: OnArrival): ExpertModule[] {
  const { width, hidden } = spec;
  const modules = Array.from({ length: spec.experts }, (_, expert): ExpertModule => {
    const w1 = checkpoint.find(spec.names(expert, "w1"), hidden, width);
    const w3 = checkpoint.find(spec.names(expert, "w3"), hidden, width);
    const w2 = checkpoint.find(spec.names(expert, "w2"), width, hidden);
    const biases = biasSources(spec, expert, checkpoint);
    const stored = (source: MatrixSource) => onArrival(source, { role: "expert" });
    const alternate = w1.everySecond !== undefined && isCopied(w1, stored(w1));
    const extras = { alternate, biases: biases && biasesOf(biases) };
    const layout = layExpert(width, hidden, stored(w1), stored(w3), stored(w2), extras);
    return { sources: [w1, w3, w2, ...(biases ?? [])], layout };
  });
  const same = JSON.stringify(modules[0]!.layout);
  const odd = modules.findIndex(({ layout }) => JSON.stringify(layout) !== same);
  if (odd < 0) return modules;
  throw new MixtabError(
    "unsupported-quantization",
    `Expert ${odd} of layer ${layer} is stored in another type than expert 0. mixtab takes experts of a layer in one type.`,
  );
}

type BiasSources = readonly [b1: MatrixSource, b3: MatrixSource, b2: MatrixSource];

function biasSources(
  { biases, width, hidden }: ExpertsSpec,
  expert: number,
  checkpoint: Checkpoint,
): BiasSources | null {
  if (!biases) return null;
  return [
    checkpoint.findColumn(biases(expert, "w1"), hidden),
    checkpoint.findColumn(biases(expert, "w3"), hidden),
    checkpoint.findColumn(biases(expert, "w2"), width),
  ];
}

/** How the biases of an expert are stored: as they are published. */
function biasesOf([b1, b3, b2]: BiasSources): ExpertBiases {
  const plain = ({ encoding }: MatrixSource) => {
    assert(encoding.kind === "plain", "a bias is plain");
    return encoding;
  };
  return { b1: plain(b1), b3: plain(b3), b2: plain(b2), alternate: b1.everySecond !== undefined };
}

/** The parts of a record, in their order. */
const partsOf = ({ w1, w3, w2, biases }: ExpertLayout): Matrix[] => [
  ...[w1, w3, w2],
  ...(biases ? [biases.b1, biases.b3, biases.b2] : []),
];
