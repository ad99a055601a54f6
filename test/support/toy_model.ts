import { layExpert, layMatrix, type Matrix } from "../../src/base/matrix.ts";
import { decoder } from "../../src/layers/decoder.ts";
import { mixture } from "../../src/layers/feed_forward.ts";
import { inverseFrequencies, ropeTable } from "../../src/layers/rope.ts";
import type { Ops, Speaker, Weight } from "../../src/ops/ops.ts";

/** Deterministic numbers in [-1, 1): a linear congruential generator (Numerical Recipes). */
export function numbers(seed: number) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
}

export interface ToyShape {
  readonly layers: number;
  readonly experts: number;
  readonly top: number;
  readonly window: number | null;
}

/** A Mixtral of a few thousand random f32 weights: D 16, 2 heads of 8 over 1, F 24, V 37. */
export function toyModel(speaker: Speaker, shape: ToyShape, slotCount: number, ring: number) {
  const next = numbers(20260101);
  const plain = { kind: "plain", dtype: "f32" } as const;
  const [width, hidden, vocabulary] = [16, 24, 37];
  const fill = (matrix: Matrix): Weight => {
    const weight = speaker.weight(matrix);
    const scale = matrix.rows === 1 ? 0 : 1.7 / Math.sqrt(matrix.columns);
    const values = Float32Array.from({ length: matrix.rows * matrix.columns }, () =>
      scale ? next() * scale * 1.7 : 1 + next() / 4,
    );
    speaker.write(weight, 0, new Uint8Array(values.buffer));
    return weight;
  };
  const matrix = (rows: number, columns: number) => fill(layMatrix(rows, columns, plain));
  const layout = layExpert(width, hidden, plain, plain, plain);
  const records = Array.from({ length: shape.layers * shape.experts }, () => {
    const values = Float32Array.from({ length: layout.bytes / 4 }, () => next() * 0.5);
    return new Uint8Array(values.buffer);
  });
  const slots = speaker.slots(slotCount, layout.bytes, shape.layers, shape.experts);
  const table = ropeTable(inverseFrequencies(1e4, 8), 256);
  const rope = speaker.weight(layMatrix(256, 8, plain));
  speaker.write(rope, 0, new Uint8Array(table.buffer as ArrayBuffer));

  const blocks = Array.from({ length: shape.layers }, (_, index) => ({
    attentionNorm: matrix(1, width),
    attention: {
      wq: matrix(16, width),
      wk: matrix(8, width),
      wv: matrix(8, width),
      wo: matrix(width, 16),
      rope,
      headWidth: 8,
    },
    cache: speaker.cache(ring, 8, shape.window),
    ffnNorm: matrix(1, width),
    feedForward: mixture(matrix(shape.experts, width), {
      index,
      experts: shape.experts,
      top: shape.top,
      renormalise: true,
      expert: layout,
      slots,
    }),
  }));
  const parts = {
    embedding: matrix(vocabulary, width),
    blocks,
    norm: matrix(1, width),
    head: matrix(vocabulary, width),
    eps: 1e-5,
  };
  return {
    width,
    vocabulary,
    slots,
    layout,
    /** Keys and values of the first `positions` that a window still sees, on the CPU. */
    cached: (positions: number) =>
      blocks.map(({ cache }) => {
        const { keys, values, ring, width } = cache as unknown as {
          keys: Float32Array;
          values: Float32Array;
          ring: number;
          width: number;
        };
        const first = shape.window === null ? 0 : Math.max(0, positions - shape.window);
        const rows = Array.from({ length: positions - first }, (_, index) => ((first + index) % ring) * width);
        return rows.map((at) => [...keys.subarray(at, at + width), ...values.subarray(at, at + width)]);
      }),
    record: (layer: number, expert: number) => records[layer * shape.experts + expert]!.slice(),
    say: (ops: Ops) => decoder(ops, parts),
  };
}
