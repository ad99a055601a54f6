/** What the verbs of the CPU work on: plain arrays. */
import { decodeMatrix } from "../../format/mlx_affine.ts";
import type { Cache, Guess, History, Step, Tensor, Weight } from "../ops.ts";

export interface CpuTensor extends Tensor {
  readonly data: Float32Array;
}

export interface CpuWeight extends Weight {
  readonly bytes: Uint8Array;
  /** Decoded on first use. */
  values: Float32Array | null;
}

export interface CpuCache extends Cache {
  /** [ring, width], like `values`. */
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

export interface CpuHistory extends History {
  /** [ring, width]. */
  readonly rows: Float32Array;
}

/** What outlives a step: the stall word, the last sampled id, the sets of the report. */
export interface State {
  stall: number;
  token: number;
  finite: boolean;
  pending: Uint32Array;
  wanted: Uint32Array[];
  guesses: Guess[];
}

/** One recorded piece of work. */
export interface Instruction {
  readonly run: (step: Step) => void;
  /**
   * Whether it runs even if the stall word is set, as the experts' products do: they serve the
   * pairs that were just resolved.
   */
  readonly underStall: boolean;
}

export const floats = (x: Tensor): Float32Array => (x as CpuTensor).data;

/** A matrix as f32, row-major. */
export function numbersOf(w: Weight): Float32Array {
  const weight = w as CpuWeight;
  weight.values ??= decodeMatrix(weight.matrix, weight.bytes);
  return weight.values;
}
