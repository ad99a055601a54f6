/**
 * What a model is built of. A model is one expression over a {@link Builder}, and is built twice:
 * on paper (`blueprint.ts`), which finds out what to load, and again with what was loaded. So each
 * weight's name and shape are written once, where the weight is used.
 */
import type { PublishedName } from "../base/published_name.ts";
import type { Role } from "../base/role.ts";
import type { Activation, Cache, History, MoeLayer, Ops, Tensor, Weight } from "../ops/ops.ts";

/** A part of a model with its weights bound: [T, in] -> [T, out]. */
export type Layer = (ops: Ops, x: Tensor) => Tensor;

/**
 * A whole model with its weights bound: it calls the verbs of `ops`, from `embed` of the ids to
 * `sample` of the next one.
 */
export type Speech = (ops: Ops) => void;

/** A matrix that a model needs. */
export interface WeightSpec {
  /** The names under which it may be published; the first that the files have is used. */
  readonly names: readonly PublishedName[];
  /** [out, in]. */
  readonly shape: readonly [rows: number, columns: number];
  /** Norms are widened to f32; of the others format/recipe.ts decides what they become on arrival. */
  readonly role: Role;
  /** Is added to each number of a norm when it arrives: 1 for a weight that is published less 1. */
  readonly plus?: number;
  /** Where mlx_lm quantises it to other than 4 bits. */
  readonly mlxBits?: 8;
}

/** Keys and values of one attention layer. */
export interface CacheSpec {
  /** K * C. */
  readonly width: number;
  /** How many keys a query sees, its own included; null: all. */
  readonly window: number | null;
}

/** The last rows of what a layer convolves. */
export interface HistorySpec {
  readonly width: number;
  /** n: how many rows the convolution sees. */
  readonly window: number;
}

/** A matrix of an expert. */
export type ExpertPart = "w1" | "w2" | "w3";

/**
 * The routed experts of one layer: each w2 activation(w1 x + b1, w3 x + b3) + b2; w1, w3 [F, D], w2
 * [D, F].
 */
export interface ExpertsSpec {
  /** E. */
  readonly experts: number;
  /** A. */
  readonly top: number;
  /** D. */
  readonly width: number;
  /** F. */
  readonly hidden: number;
  readonly activation: Activation;
  names(expert: number, part: ExpertPart): readonly PublishedName[];
  /** The names of the bias that belongs to a matrix; absent: experts have none. */
  biases?(expert: number, part: ExpertPart): readonly PublishedName[];
}

/** Gives a model its parts. A model never looks inside them. */
export interface Builder {
  /** Whether the model's files have a matrix of that name. */
  has(module: string): boolean;
  weight(spec: WeightSpec): Weight;
  /** A cache for one layer. */
  cache(spec: CacheSpec): Cache;
  /** The table of `Ops.rope` for these θ_i, i < R / 2; cos and sin times `scale`. */
  rope(frequencies: Float32Array, scale: number): Weight;
  /** What `Ops.convolve` keeps. */
  history(spec: HistorySpec): History;
  /** The experts of one layer; MoE layers are counted in order of appearance. */
  experts(spec: ExpertsSpec): MoeLayer;
}
