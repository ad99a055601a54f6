/** What one trace is about. */
export interface TraceHead {
  readonly model: string;
  readonly arch: string;
  /** Of each MoE layer, E, and A per token. */
  readonly layers: readonly { readonly experts: number; readonly top: number }[];
  readonly recordBytes: number;
}

/** The routes of some tokens that ran together. */
export interface TracedTokens {
  /** Counts the requests. */
  readonly turn: number;
  /** 0: prompt tokens, 1: generated ones. */
  readonly phase: 0 | 1;
  /** Of the first token. */
  readonly position: number;
  /** Of the prompt, and the chunk in it. */
  readonly segment: number;
  readonly chunk: number;
  /** `experts.LAYER` and `expert_weights.LAYER` [T, A], as `Plan.taps` gives them. */
  readonly taps: ReadonlyMap<string, Float32Array | Uint32Array>;
  /** T. */
  readonly count: number;
  /** In which pass over the layer an expert was there; 0: the first. */
  passOf(layer: number, expert: number): number;
  /** Whether it was resident when it was first wanted. */
  wasResident(layer: number, expert: number): boolean;
}

/**
 * Columns of BigMoeOnEdge's route traces (v1), and three of our own; `step` is a position, `slot` a
 * rank.
 */
const COLUMNS = "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,segment,chunk,pass";

/** The numbers of a token's row before those of its experts: turn, phase, step, segment, chunk. */
const HEAD = 5;

/**
 * Which experts served which token: one row per token, layer and rank. Kept as numbers; a text of
 * it is made on demand.
 */
export class Trace {
  private readonly head: TraceHead;
  /**
   * Per token: HEAD numbers, then for each layer and rank the expert, its pass, and whether it was
   * resident.
   */
  private readonly tokens: Int32Array[] = [];
  /** Per token, for each layer and rank. */
  private readonly weights: Float32Array[] = [];
  /** By layer, how many ranks lie before its first; then how many there are. */
  private readonly first: number[] = [0];

  constructor(head: TraceHead) {
    this.head = head;
    for (const { top } of head.layers) this.first.push(this.first.at(-1)! + top);
  }

  add({ turn, phase, position, segment, chunk, taps, count, passOf, wasResident }: TracedTokens): void {
    const ranks = this.first.at(-1)!;
    for (let t = 0; t < count; t++) {
      const row = new Int32Array(HEAD + 3 * ranks);
      const weights = new Float32Array(ranks);
      row.set([turn, phase, position + t, segment, chunk]);
      for (const [layer, { top }] of this.head.layers.entries()) {
        const first = this.first[layer]!;
        const experts = taps.get(`experts.${layer}`)!.subarray(t * top, (t + 1) * top);
        weights.set(taps.get(`expert_weights.${layer}`)!.subarray(t * top, (t + 1) * top), first);
        for (const [rank, expert] of experts.entries())
          row.set([expert, passOf(layer, expert), Number(wasResident(layer, expert))], HEAD + 3 * (first + rank));
      }
      this.tokens.push(row);
      this.weights.push(weights);
    }
  }

  csv(): string {
    const { model, arch, layers, recordBytes } = this.head;
    const most = (field: "experts" | "top") => Math.max(...layers.map((layer) => layer[field]));
    const lines = [
      "# route_trace v1",
      `# model=${model} arch=${arch} n_layer=${layers.length} n_expert=${most("experts")} n_expert_used=${most("top")}`,
      ...layers.map((_, layer) => `# layer=${layer} expert_bytes=${recordBytes}`),
      COLUMNS,
    ];
    for (const [index, row] of this.tokens.entries()) {
      const [turn, phase, step, segment, chunk] = row;
      for (const [layer, { top }] of layers.entries())
        for (let rank = 0; rank < top; rank++) {
          const at = this.first[layer]! + rank;
          const [expert, pass, resident] = row.subarray(HEAD + 3 * at);
          const weight = this.weights[index]![at]!.toFixed(6);
          const place = `${turn},${phase},${step},${layer},${rank}`;
          lines.push(`${place},${expert},${weight},${resident},${recordBytes},${segment},${chunk},${pass}`);
        }
    }
    return `${lines.join("\n")}\n`;
  }
}
