/** What one trace is about. */
export interface TraceHead {
  readonly model: string;
  readonly arch: string;
  readonly layers: number;
  /** E, per layer. */
  readonly experts: number;
  /** A, per token and layer. */
  readonly top: number;
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

/** Columns of BigMoeOnEdge's route traces (v1), and three of our own; `step` is a position, `slot` a rank. */
const COLUMNS = "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,segment,chunk,pass";

/** The numbers of a token's row before its experts': turn, phase, step, segment, chunk. */
const HEAD = 5;

/** Which experts served which token: one row per token, layer and rank. Kept as numbers; a text of it is made on demand. */
export class Trace {
  private readonly head: TraceHead;
  /** Per token: HEAD numbers, then for each layer and rank the expert, its pass, and whether it was resident. */
  private readonly tokens: Int32Array[] = [];
  /** Per token, [layers, A]. */
  private readonly weights: Float32Array[] = [];

  constructor(head: TraceHead) {
    this.head = head;
  }

  add({ turn, phase, position, segment, chunk, taps, count, passOf, wasResident }: TracedTokens): void {
    const { layers, top } = this.head;
    for (let t = 0; t < count; t++) {
      const row = new Int32Array(HEAD + 3 * layers * top);
      const weights = new Float32Array(layers * top);
      row.set([turn, phase, position + t, segment, chunk]);
      for (let layer = 0; layer < layers; layer++) {
        const experts = taps.get(`experts.${layer}`)!.subarray(t * top, (t + 1) * top);
        weights.set(taps.get(`expert_weights.${layer}`)!.subarray(t * top, (t + 1) * top), layer * top);
        for (const [rank, expert] of experts.entries())
          row.set([expert, passOf(layer, expert), Number(wasResident(layer, expert))], HEAD + 3 * (layer * top + rank));
      }
      this.tokens.push(row);
      this.weights.push(weights);
    }
  }

  csv(): string {
    const { model, arch, layers, experts, top, recordBytes } = this.head;
    const lines = [
      "# route_trace v1",
      `# model=${model} arch=${arch} n_layer=${layers} n_expert=${experts} n_expert_used=${top}`,
      ...Array.from({ length: layers }, (_, layer) => `# layer=${layer} expert_bytes=${recordBytes}`),
      COLUMNS,
    ];
    for (const [index, row] of this.tokens.entries()) {
      const [turn, phase, step, segment, chunk] = row;
      for (let at = 0; at < layers * top; at++) {
        const [expert, pass, resident] = row.subarray(HEAD + 3 * at);
        const weight = this.weights[index]![at]!.toFixed(6);
        const place = `${turn},${phase},${step},${Math.floor(at / top)},${at % top}`;
        lines.push(`${place},${expert},${weight},${resident},${recordBytes},${segment},${chunk},${pass}`);
      }
    }
    return `${lines.join("\n")}\n`;
  }
}
