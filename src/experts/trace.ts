import type { Pool } from "./pool.ts";

/** Which experts served which token: one row per token, layer and rank, in the columns of BigMoeOnEdge's route traces (v1). */
export class Trace {
  private readonly rows: string[] = [];
  private readonly recordBytes: number;
  private readonly layers: number;

  constructor(layers: number, recordBytes: number) {
    this.layers = layers;
    this.recordBytes = recordBytes;
  }

  /**
   * Notes a step's routes. `taps`: as `Plan.taps` gives them; `pool`: says whether an expert was resident when it was wanted. `turn` counts
   * the requests; `phase` is 0 for prompt tokens, 1 for generated ones; `step` is the first token's position.
   */
  add(
    turn: number,
    phase: 0 | 1,
    step: number,
    taps: ReadonlyMap<string, Float32Array | Uint32Array>,
    count: number,
    pool: Pool,
  ): void {
    for (let t = 0; t < count; t++)
      for (let layer = 0; layer < this.layers; layer++) {
        const experts = taps.get(`experts.${layer}`)!;
        const weights = taps.get(`expert_weights.${layer}`)!;
        const top = experts.length / count;
        for (let rank = 0; rank < top; rank++) {
          const at = t * top + rank;
          const expert = experts[at]!;
          const weight = weights[at]!.toFixed(6);
          const residency = pool.wasResident(layer, expert) ? 1 : 0;
          this.rows.push(
            `${turn},${phase},${step + t},${layer},${rank},${expert},${weight},${residency},${this.recordBytes}`,
          );
        }
      }
  }

  csv(): string {
    return ["turn,phase,step,layer,slot,expert,weight,residency,expert_bytes", ...this.rows, ""].join("\n");
  }
}
