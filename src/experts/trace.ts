/** The header of a trace. */
export interface TraceHead {
  readonly model: string;
  readonly arch: string;
  /** E and A of each MoE layer. */
  readonly layers: readonly { readonly experts: number; readonly top: number }[];
  readonly recordBytes: number;
}

/** The routes of some tokens that ran together. */
export interface TracedTokens {
  /** The number of the request in its session, from 1. */
  readonly turn: number;
  /** 0: prompt tokens, 1: generated ones. */
  readonly phase: 0 | 1;
  /** The position of the first token. */
  readonly position: number;
  /** The number of the segment in the prompt, and of the chunk in the segment. */
  readonly segment: number;
  readonly chunk: number;
  /** `experts.LAYER` and `expert_weights.LAYER` [T, A], as `Plan.taps` gives them. */
  readonly taps: ReadonlyMap<string, Float32Array | Uint32Array>;
  /** T. */
  readonly count: number;
  /**
   * In which pass over the layer an expert served these tokens; 0: the first, being resident.
   */
  passOf(layer: number, expert: number): number;
  /** Whether an expert was resident when the layer first wanted it. */
  wasResident(layer: number, expert: number): boolean;
}

/**
 * The columns of BigMoeOnEdge's route traces (v1), then three of our own: segment, chunk and pass.
 * The column `step` holds a token's position, `slot` an expert's rank.
 */
const COLUMNS = "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,segment,chunk,pass";

/** The numbers of a token's row before those of its experts: turn, phase, step, segment, chunk. */
const HEAD = 5;

/**
 * Records which experts served which token: one row per token, layer and rank. The rows are kept as
 * numbers; `csv` makes a text of them on demand.
 */
export class Trace {
  private readonly head: TraceHead;
  /**
   * Per token: HEAD numbers, then for each layer and rank the expert, its pass, and whether it was
   * resident.
   */
  private readonly tokens: Int32Array[] = [];
  /** Per token, the expert's weight for each layer and rank. */
  private readonly weights: Float32Array[] = [];
  /**
   * By layer, how many ranks the layers before it have; last, how many all have. Example: layers
   * with A = 2, 2 and 4 make it 0, 2, 4, 8.
   */
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
