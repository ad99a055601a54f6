import type { ExpertLayout } from "../base/matrix.ts";
import type { Cache, MoeLayer, Ops, Slots, Weight } from "../ops/ops.ts";
import type { Config } from "./config.ts";

/** One way a matrix may be published; see `format/checkpoint.ts` for the fields. */
export interface PublishedName {
  readonly module: string;
  readonly bare?: boolean;
  readonly stack?: number;
  readonly firstRow?: number;
}

/** A matrix a model needs. Roles: linears are quantised on arrival, routers and embeddings kept, norms widened to f32. */
export interface WeightSpec {
  readonly names: readonly PublishedName[];
  readonly rows: number;
  readonly columns: number;
  readonly role: "linear" | "router" | "embedding" | "norm";
}

/** The routed experts: E in each of `layers` MoE layers, A per token, each w2(silu(w1 x) * w3 x) of width F. */
export interface ExpertsSpec {
  readonly layers: number;
  readonly experts: number;
  readonly top: number;
  readonly renormalise: boolean;
  /** F. */
  readonly hidden: number;
  names(layer: number, expert: number, part: "w1" | "w2" | "w3"): readonly PublishedName[];
}

/** What is known of a model before its weights are: what to load, what to keep, how to run. */
export interface ModelSpec {
  readonly modelType: string;
  /** D. */
  readonly width: number;
  readonly vocabulary: number;
  readonly layers: number;
  /** Longest context the model was made for. */
  readonly positions: number;
  /** Keys a query sees, itself included; null: all. */
  readonly window: number | null;
  /** K * C. */
  readonly cacheWidth: number;
  /** θ_i of rope, i < C / 2. */
  readonly inverseFrequencies: Float32Array;
  readonly weights: Readonly<Record<string, WeightSpec>>;
  readonly experts: ExpertsSpec | null;
  /** Says the model to `ops`. */
  say(ops: Ops, loaded: LoadedModel): void;
}

/** A model's parts on a device. */
export interface LoadedModel {
  /** By the spec's keys. */
  weight(key: string): Weight;
  readonly rope: Weight;
  readonly caches: readonly Cache[];
  readonly slots: Slots | null;
  expertLayout(layer: number): ExpertLayout;
}

/** One file per `model_type`: config keys, weight names with shapes, wiring. */
export interface Architecture {
  readonly modelType: string;
  /** Errors: bad-config. */
  read(config: Config): ModelSpec;
}

/** The loaded experts of one layer, as `Ops.moe` takes them. */
export function moeLayer({ experts, top, renormalise }: ExpertsSpec, loaded: LoadedModel, index: number): MoeLayer {
  const { slots } = loaded;
  if (!slots) throw new Error("a model with experts has slots");
  return { index, experts, top, renormalise, expert: loaded.expertLayout(index), slots };
}
