import { loadModel } from "../../src/engine/load.ts";
import type { Cache, Speaker } from "../../src/ops/ops.ts";
import { computedMixtral, type MixtralShape, TINY } from "./computed_mixtral.ts";
import { computedSource } from "./computed_source.ts";

/** Deterministic numbers in [-1, 1): a linear congruential generator (Numerical Recipes). */
export function numbers(seed: number) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

/** What can be chosen of a toy model. The rest is as in {@link TINY}, with D 16 and F 24. */
export type ToyShape = Pick<MixtralShape, "layers" | "experts" | "top" | "window"> & Partial<MixtralShape>;

export interface ToyOptions {
  readonly slots: number;
  readonly contextLength: number;
  readonly prefetch?: boolean;
}

/** Opens a Mixtral of a few thousand random f32 weights. Its pool is empty. */
export async function toyModel(speaker: Speaker, shape: ToyShape, options: ToyOptions) {
  const { config, tensors } = computedMixtral({ ...TINY, width: 16, hidden: 24, ...shape });
  const loaded = await loadModel(speaker, computedSource(config, tensors), null, { quantize: false, ...options });
  const library = loaded.library!;
  return {
    loaded,
    library,
    pool: loaded.pool!,
    slots: loaded.pool!.slots,
    vocabulary: shape.vocabulary ?? TINY.vocabulary,
    /** The keys and values of those of the first `positions` that a window still sees. CPU only. */
    cached(positions: number) {
      return loaded.rings.map((cache) => {
        const { keys, values, width, window, ring } = cache as Cache & Record<"keys" | "values", Float32Array>;
        const first = window === null ? 0 : Math.max(0, positions - window);
        const places = Array.from({ length: positions - first }, (_, index) => (first + index) % ring);
        const row = (place: number) =>
          [keys, values].flatMap((of) => [...of.subarray(place * width, (place + 1) * width)]);
        return places.map(row);
      });
    },
  };
}
