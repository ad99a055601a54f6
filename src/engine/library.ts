import { assert, defined } from "../base/assert.ts";
import { MixtabError } from "../base/errors.ts";
import { type Encoding, type ExpertBiases, type ExpertLayout, layExpert, type Matrix } from "../base/matrix.ts";
import { release } from "../base/release.ts";
import type { Origin } from "../experts/counters.ts";
import type { Checkpoint, MatrixSource } from "../format/checkpoint.ts";
import type { ExpertPart, ExpertsSpec } from "../layers/builder.ts";
import type { Source } from "../source/source.ts";
import type { Store } from "../store/store.ts";
import type { OnArrival } from "./arrival.ts";
import type { Connections } from "./connections.ts";
import { isCopied, joined, loadedPerPublished, matrixParts, type Part, readParts, type Write } from "./parts.ts";
import type { ProgressMeter } from "./progress.ts";

/** JS memory for records on their way: this much, or two records where they are larger. */
const MEMORY_BYTES = 32 * 1024 * 1024;

/** The fill asks for about this much at a time: what is under way delays an expert in demand. */
const WINDOW_MS = 1000;

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
  private readonly stored = new Set<number>();
  /** Experts that the meter has been told of. */
  private readonly told = new Set<number>();
  private quotaSpent = false;

  constructor(
    layers: readonly ExpertsSpec[],
    checkpoint: Checkpoint,
    onArrival: OnArrival,
    places: { source: Source; store: Store | null; prefix: string; connections: Connections; meter: ProgressMeter },
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
    if (this.store && this.stored.has(id)) {
      const { bytes } = this.modules[id]!.layout;
      // What an older version left may be longer than its slot.
      const fitting: typeof accept = (offset, slice) => {
        if (offset + slice.length <= bytes) accept(offset, slice);
      };
      if ((await this.store.read(this.key(id), fitting, signal)) === bytes) return "store";
      this.stored.delete(id);
      this.meter.warn(`The record of expert ${expert} in layer ${layer} could not be read back; it is fetched again.`);
    }
    const bytes = await this.connections.demand(async () => {
      const record = new Uint8Array(this.modules[id]!.layout.bytes);
      await this.fetch([id], [record], true, signal);
      await this.keep(id, record);
      return record;
    });
    accept(0, bytes);
    return this.source.remote ? "network" : "memory";
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
    let windowBytes = this.recordBytes;
    while (!this.quotaSpent) {
      const window = this.nextWindow(windowBytes);
      if (window.length === 0) return true;
      const began = performance.now();
      const records = window.map((id) => new Uint8Array(this.modules[id]!.layout.bytes));
      await this.fetch(window, records, false, signal);
      for (const [index, id] of window.entries()) {
        await this.keep(id, records[index]!);
        release(records[index]!);
      }
      const fast = performance.now() - began < WINDOW_MS;
      windowBytes = fast ? Math.min(windowBytes * 2, MEMORY_BYTES) : windowBytes / 2;
    }
    return false;
  }

  /**
   * The first missing experts in a row, as many as `mostBytes` and the memory allow, at least one.
   */
  private nextWindow(mostBytes: number): number[] {
    const spare = Math.min(mostBytes, MEMORY_BYTES - this.readsAtOnce * this.recordBytes);
    const window: number[] = [];
    let bytes = 0;
    for (const [id, { layout }] of this.modules.entries()) {
      if (this.stored.has(id)) {
        if (window.length > 0) break;
        continue;
      }
      bytes += layout.bytes;
      if (window.length > 0 && bytes > spare) break;
      window.push(id);
    }
    return window;
  }

  private async fetch(
    ids: readonly number[],
    records: readonly Uint8Array<ArrayBuffer>[],
    inDemand: boolean,
    signal?: AbortSignal,
  ): Promise<void> {
    const parts = ids.flatMap((id, index) => this.counted(id, this.parts(id, records[index]!)));
    const { source, connections } = this;
    await readParts(parts, { source, connections, inDemand, signal });
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
  const { width, hidden, biases } = spec;
  const modules = Array.from({ length: spec.experts }, (_, expert): ExpertModule => {
    const w1 = checkpoint.find(spec.names(expert, "w1"), hidden, width);
    const w3 = checkpoint.find(spec.names(expert, "w3"), hidden, width);
    const w2 = checkpoint.find(spec.names(expert, "w2"), width, hidden);
    const [e1, e3, e2] = [w1, w3, w2].map((source) => onArrival(source, { role: "expert" })) as [
      Encoding,
      Encoding,
      Encoding,
    ];
    const alternate = w1.everySecond !== undefined && isCopied(w1, e1);
    const column = (part: ExpertPart, rows: number) => biases && checkpoint.findColumn(biases(expert, part), rows);
    const columns = [column("w1", hidden), column("w3", hidden), column("w2", width)].filter(
      (source) => source !== undefined,
    );
    const layout = layExpert(width, hidden, e1, e3, e2, {
      alternate,
      biases: columns.length > 0 ? biasesOf(columns) : null,
    });
    return { sources: [w1, w3, w2, ...columns], layout };
  });
  const same = JSON.stringify(modules[0]!.layout);
  const odd = modules.findIndex(({ layout }) => JSON.stringify(layout) !== same);
  if (odd < 0) return modules;
  throw new MixtabError(
    "unsupported-quantization",
    `Expert ${odd} of layer ${layer} is stored in another type than expert 0. mixtab takes experts of a layer in one type.`,
  );
}

/** How the biases of an expert are stored: as they are published. */
function biasesOf([b1, b3, b2]: readonly MatrixSource[]): ExpertBiases {
  const plain = (source: MatrixSource | undefined) => {
    const { encoding } = defined(source, "a bias");
    assert(encoding.kind === "plain", "a bias is plain");
    return encoding;
  };
  return { b1: plain(b1), b3: plain(b3), b2: plain(b2), alternate: b1?.everySecond !== undefined };
}

/** The parts of a record, in their order. */
const partsOf = ({ w1, w3, w2, biases }: ExpertLayout): Matrix[] => [
  ...[w1, w3, w2],
  ...(biases ? [biases.b1, biases.b3, biases.b2] : []),
];
