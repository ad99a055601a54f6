/**
 * The vocabulary: the operations (verbs) of which a model is written. Two speakers understand it:
 * `ops/cpu` defines what each verb means, in plain loops; `ops/gpu` runs it fast, on WebGPU.
 *
 * Letters, everywhere in mixtab: T tokens in this step, S tokens in the cache, D model width, H
 * query heads, K key/value heads, C head width, F expert width, E experts, A experts per token, V
 * vocabulary.
 */
import type { ExpertLayout, Matrix } from "../base/matrix.ts";

/** "No layer", "no slot", "no owner". */
export const NONE = 0xffffffff;

/** The most tokens a step may carry: the largest bucket. */
export const MAX_CHUNK = 256;

/** Words of expert sets that a report has room for: 125 layers of 256 experts, without guesses. */
export const MOST_SET_WORDS = 1004;

/** Widest attention head the kernels take; any multiple of 4 up to it. */
export const MAX_HEAD_WIDTH = 512;

declare const tensorBrand: unique symbol;
/**
 * An activation [rows, width] in f32; rows are the step's tokens, or only its last one (after
 * `lastRow`).
 */
export interface Tensor {
  readonly [tensorBrand]: never;
  readonly rows: "tokens" | "last";
  readonly width: number;
}

/** A dense matrix (or a vector: one row) that stays on the device. */
export interface Weight {
  readonly matrix: Matrix;
}

/**
 * Keys and values of one layer: a ring of `ring` positions, each `width` = K * C numbers; position
 * p lies at p % ring.
 */
export interface Cache {
  readonly ring: number;
  readonly width: number;
  /** A query at t sees the keys s with t - window < s <= t; null: all s <= t. */
  readonly window: number | null;
}

/**
 * The rows of an activation at past positions, a ring like a cache's. A token at t sees the rows s
 * with t - window < s <= t.
 */
export interface History {
  readonly ring: number;
  readonly width: number;
  readonly window: number;
}

/**
 * The expert pool's memory: equal slots of `bytes`, a table (layer, expert) -> slot, and each
 * slot's owner.
 */
export interface Slots {
  readonly count: number;
  /**
   * The most slots that are of use: one for each expert, or what the device can bind if that is
   * less.
   */
  readonly most: number;
  readonly bytes: number;
  /** MoE layers. */
  readonly layers: number;
  /**
   * E of the layer with the most experts. Each layer has so many places in the table, and owners
   * are numbered by it.
   */
  readonly experts: number;
  /** Writes bytes of a record at `offset` of a slot. */
  write(slot: number, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  /** Names the slot's owner: layer * experts + expert, or NONE. */
  own(slot: number, owner: number): void;
  /** Writes the table: where (layer, expert) lies, or NONE. */
  map(layer: number, expert: number, slot: number): void;
  /**
   * Changes the number of slots between two steps; recorded plans use the new ones. Slots that stay
   * keep their bytes, and each of `moves` copies the bytes of one slot to another; the caller
   * writes owners and table. Errors: out-of-memory, after which nothing has changed.
   */
  resize(count: number, moves?: readonly { readonly from: number; readonly to: number }[]): Promise<void>;
}

/** One sparse feed-forward layer: E experts, each token served by A of them. */
export interface MoeLayer {
  /** Counted over the MoE layers of the model, from 0. */
  readonly index: number;
  readonly experts: number;
  readonly top: number;
  readonly activation: Activation;
  readonly expert: ExpertLayout;
  readonly slots: Slots;
}

/** y = f(gate, up), elementwise. */
export type Activation =
  /** silu(gate) * up, silu(z) = z / (1 + exp(-z)): a SwiGLU. (Shazeer 2020) */
  | { readonly kind: "silu" }
  /**
   * gelu(gate) * up, gelu(z) = z / 2 * (1 + tanh(sqrt(2 / π) (z + 0.044715 z³))). (Hendrycks and
   * Gimpel 2016)
   */
  | { readonly kind: "gelu" }
  /** sigmoid(gate) * up: how much of a shared expert counts. (Qwen 2024) */
  | { readonly kind: "sigmoid" }
  /** gate * up. */
  | { readonly kind: "identity" }
  /**
   * (u + 1) * g * sigmoid(alpha g), where g = min(gate, limit) and u = up, held within ± limit.
   * (OpenAI 2025, gpt-oss)
   */
  | { readonly kind: "clampedSwiglu"; readonly alpha: number; readonly limit: number };

/** How a router's logits become experts and their weights; ties go to the lowest id. */
export type RoutingRule = Scores | Sparsemixer;

/**
 * p = score(logits). Each token goes to the A experts with the largest p + choiceBias, or the
 * largest logits if there is neither bias nor groups. An expert's weight is p, divided by
 * `renormalise` + the sum of the chosen ones' unless it is null, times `scale`, times its
 * expertScale. (Jiang et al. 2024; DeepSeek-AI 2024)
 */
export interface Scores {
  readonly kind: "scores";
  readonly score: "softmax" | "sigmoid";
  /** [1, E] f32. */
  readonly choiceBias: Weight | null;
  /**
   * `count` groups of E / count neighbours; one is worth the sum of its two largest. Only experts
   * of the `best` groups may be chosen.
   */
  readonly groups: { readonly count: number; readonly best: number } | null;
  readonly renormalise: number | null;
  readonly scale: number;
  /** [1, E] f32. */
  readonly expertScale: Weight | null;
}

/**
 * A times, the best expert not yet taken. Its weight is its softmax over those not yet taken whose
 * logit s has (best - s) / max(|s|, best) <= 2 * jitter. (Liu et al. 2024, GRIN)
 */
export interface Sparsemixer {
  readonly kind: "sparsemixer";
  readonly jitter: number;
}

declare const routesBrand: unique symbol;
/** Which A of E experts serve each token of the step, best first, and with what weights. */
export interface Routes {
  readonly [routesBrand]: never;
  /** The number of the MoE layer, counted from 0 in the order of the calls of `route`. */
  readonly index: number;
  readonly experts: number;
  readonly top: number;
}

/** What queries attend to, and how. */
export interface Attention {
  readonly cache: Cache;
  /** C. */
  readonly headWidth: number;
  /** What q·k is divided by; sqrt(C) as a rule. */
  readonly divisor: number;
  /** [1, H] f32: in each head's softmax one more logit, which has no value. (Xiao et al. 2023) */
  readonly sinks: Weight | null;
}

/** Which channels of a head turn together. */
export interface Rotation {
  /** C. */
  readonly headWidth: number;
  /** halves: (i, i + R/2), as in transformers; adjacent: (2i, 2i + 1), as in Su et al. 2021. */
  readonly pairs: "halves" | "adjacent";
}

/**
 * The verbs. All are synchronous: a call only records what each step will do. None takes a number
 * that changes from step to step: position, token count, ids and sampling live in the {@link Step}.
 */
export interface Ops {
  /** For how many of the next layers the model should `guess`; 0: none. */
  readonly ahead: number;
  /** y[t] = w[id of token t]. w [V, D] in any encoding -> [T, D]. */
  embed(w: Weight): Tensor;
  /**
   * y = w * x / sqrt(mean(x²) + eps) for each run of D numbers in a row of x [T, n * D]: the whole
   * row, or each of n heads. w [D] f32. (Zhang and Sennrich 2019)
   */
  rmsNorm(x: Tensor, w: Weight, eps: number): Tensor;
  /** y[t] = w x[t]. w [out, in] in any encoding. */
  linear(x: Tensor, w: Weight): Tensor;
  /**
   * y[t] = w * (x[t] - mean(x[t])) / sqrt(var(x[t]) + eps) + bias. w and bias [D] f32. (Ba et al.
   * 2016)
   */
  layerNorm(x: Tensor, w: Weight, bias: Weight, eps: number): Tensor;
  /** y[t] = x[t] + bias. bias [1, D] f32. */
  addRow(x: Tensor, bias: Weight): Tensor;
  /** y = factor * x. */
  scale(x: Tensor, factor: number): Tensor;
  /** y = cap * tanh(x / cap). (Gemma Team 2024) */
  softcap(x: Tensor, cap: number): Tensor;
  /**
   * Rotates the first R channels of each head of x [T, heads * C] by its token's position; the
   * others pass. table [positions, R] f32: row p is cos(p θ_i), i < R/2, then sin(p θ_i). (Su et
   * al. 2021)
   */
  rope(x: Tensor, table: Weight, by: Rotation): Tensor;
  /**
   * A causal convolution of each channel over its last n tokens: y[t, c] = Σ_j w[c, j] x[t - n + 1
   * + j, c], with zeros before position 0. w [D, n] f32; x's rows are written to `history`, whose
   * width is D and whose window is n.
   */
  convolve(x: Tensor, w: Weight, history: History): Tensor;
  /**
   * Writes k and v of the step's tokens to the cache, then y = softmax(q·k / divisor) v, causal,
   * over the cache's window and the sinks. q [T, H * C], k and v [T, K * C]; query head h reads
   * key/value head floor(h K / H).
   */
  attend(q: Tensor, k: Tensor, v: Tensor, over: Attention): Tensor;
  /**
   * y = activation(gate, up). Each number of gate [T, D / n] serves n neighbours of up [T, D].
   */
  gate(gate: Tensor, up: Tensor, activation: Activation): Tensor;
  /** y = a + b, into a new tensor. */
  add(a: Tensor, b: Tensor): Tensor;
  /**
   * Chooses `top` experts for each token by its logits [T, E]. Taps `router_logits.<index>`,
   * `experts.<index>` (u32), `expert_weights.<index>`. The result must be passed to one call of
   * `experts`, before the next `route`.
   */
  route(logits: Tensor, top: number, rule: RoutingRule): Routes;
  /**
   * y[t] = Σ_r weight[t, r] * expert[t, r](x[t]) in rank order, where
   * expert(x) = w2 activation(w1 x + b1, w3 x + b3) + b2; the biases only where a record has them.
   * If an expert is not resident, the step stalls here: see {@link Report}.
   */
  experts(x: Tensor, routes: Routes, layer: MoeLayer): Tensor;
  /**
   * Notes in the report which experts `rule` would choose by logits [1, E], as a guess at what a
   * later MoE layer will want. The model's numbers do not depend on it.
   */
  guess(logits: Tensor, rule: RoutingRule, layer: MoeLayer): void;
  /**
   * The row of the last token; the verbs that follow run only in steps that sample. In plans that
   * tap everything it returns all rows, and the verbs that follow always run.
   */
  lastRow(x: Tensor): Tensor;
  /**
   * Chooses the next id from the last row of logits by the step's {@link Sampling}; it becomes the
   * report's `token`.
   */
  sample(logits: Tensor): void;
  /** In plans that tap everything, copies x out under a name; in all others does nothing. */
  tap(name: string, x: Tensor): void;
}

/**
 * How an id is drawn: temperature, topK and topP apply in this order, each to the ids that the one
 * before left. The draw walks those ids in vocabulary order, with the random number `uniform(seed,
 * position)` of base/hash.ts.
 */
export interface Sampling {
  /** 0: takes the largest logit, ties to the lowest id, and ignores the other fields. */
  readonly temperature: number;
  /** Keep ids whose logit is at least the topK-th largest; 0: all. */
  readonly topK: number;
  /** Keep the smallest set of best ids whose probability reaches topP (ties kept); 1: all. */
  readonly topP: number;
  /** u32. */
  readonly seed: number;
}

/** What changes from step to step. Written before every submission, a resume included. */
export interface Step {
  readonly seq: number;
  /** Token t sits at position + t. */
  readonly position: number;
  /** T: 1 to the plan's bucket. */
  readonly count: number;
  /** Ids [T]; "sampled": the id that the step before left on the device (T is 1). */
  readonly tokens: Uint32Array | "sampled";
  /**
   * null: nothing is sampled; last row, head and sample return early. The draw uses position +
   * count (where the new id will sit).
   */
  readonly sample: Sampling | null;
  /** Only the last `marked` tokens enter `wanted` of the report. */
  readonly marked: number;
}

/** What a submission reports, in one readback of at most 4 KiB. */
export interface Report {
  readonly seq: number;
  /** False: the step was queued behind a stall and did nothing. */
  readonly began: boolean;
  /**
   * The MoE layer that misses experts, or NONE. If it is not NONE, `token` is void and the position
   * does not advance.
   */
  readonly stall: number;
  /**
   * Bits per expert: those of layer `stall` that are not resident and for which tokens wait. Empty
   * if nothing stalls.
   */
  readonly pending: Uint32Array;
  /**
   * By MoE layer, bits per expert: those that the marked tokens chose. Layers that have not run yet
   * have empty sets.
   */
  readonly wanted: readonly Uint32Array[];
  readonly guesses: readonly Guess[];
  readonly token: number;
  /** Whether all sampled-from logits were finite. */
  readonly finite: boolean;
}

/** A guess that a call of `guess` noted. */
export interface Guess {
  /**
   * The MoE layer that the guess is about, and the MoE layer in front of which it was made.
   * Example: layer 5, from 4: made from the input of layer 4, before that layer ran.
   */
  readonly layer: number;
  readonly from: number;
  /** Bits per expert. */
  readonly experts: Uint32Array;
}

/**
 * `many`: prompt tokens (tiled kernels), `one`: a generated token (matrix-vector kernels). On the
 * GPU the two forms sum in different orders, so their results differ in the last bits.
 */
export type Form = "one" | "many";
export const BUCKETS = [1, 16, 64, 256] as const;
export type Bucket = (typeof BUCKETS)[number];

/**
 * What a plan copies out. none: nothing; routes: each token's experts and their weights; all:
 * these, all that the model taps, and the logits of every row.
 */
export type Taps = "none" | "routes" | "all";

export interface RecordOptions {
  readonly taps?: Taps | undefined;
  /**
   * The number of the chunk in its segment: plans of different chunks may stand at different marks
   * at the same time. Default 0.
   */
  readonly chunk?: number;
  /** See {@link Ops.ahead}. Default 0. */
  readonly ahead?: number;
}

/** A place between two dispatches of a plan. */
export type Mark = number;

/**
 * A recorded step, which can be run many times. A run is one submission and one readback, and
 * records nothing anew.
 */
export interface Plan {
  readonly form: Form;
  readonly bucket: Bucket;
  readonly begin: Mark;
  readonly end: Mark;
  /** Right before `resolve` of that MoE layer. */
  resumeAt(layer: number): Mark;
  /** Right after `combine` of that MoE layer. */
  after(layer: number): Mark;
  /**
   * Clears the stall word (and, from `begin`, the wanted sets), writes the step, runs the
   * dispatches between the marks, and reads the report. While another submission is in flight the
   * stall word stays as it is: see `began` of {@link Report}.
   */
  run(step: Step, from: Mark, to: Mark): Promise<Report>;
  /** What the last step tapped, by name: rows [T, width] of the step's own T. */
  taps(): Promise<ReadonlyMap<string, Float32Array | Uint32Array>>;
}

/**
 * A backend that understands the vocabulary: it records what a model says in verbs, and runs it.
 */
export interface Speaker {
  readonly device: "cpu" | "gpu";
  /** For people: the adapter, or "CPU (reference)". */
  readonly description: string;
  /** Makes room for a dense matrix; `write` brings its bytes. */
  weight(matrix: Matrix): Weight;
  /** Writes `bytes` at `offset` (both multiples of 4) of a weight's buffer. */
  write(weight: Weight, offset: number, bytes: Uint8Array<ArrayBuffer>): void;
  cache(ring: number, width: number, window: number | null): Cache;
  history(ring: number, width: number, window: number): History;
  /** `experts`: E of each MoE layer. */
  slots(count: number, bytes: number, experts: readonly number[]): Slots;
  /**
   * Runs the model's code once, recording it. form "one" has bucket 1; "many" has bucket 16, 64 or
   * 256.
   */
  record(form: Form, bucket: Bucket, model: (ops: Ops) => void, options?: RecordOptions): Plan;
  /** Bytes held on the device: dense weights, caches, slots, activations. */
  memory(): { readonly weights: number; readonly caches: number; readonly slots: number; readonly arena: number };
  /** Settles with the reason when the device is lost; never on the CPU. */
  readonly lost: Promise<string>;
  close(): void;
}
