import { type Encoding, layExpert, layMatrix, type Matrix } from "../../src/base/matrix.ts";
import type { Loaded } from "../../src/engine/load.ts";
import type { Pool } from "../../src/experts/pool.ts";
import { decoder } from "../../src/layers/decoder.ts";
import { mixture } from "../../src/layers/feed_forward.ts";
import { inverseFrequencies, ropeTable } from "../../src/layers/rope.ts";
import type { Ops, Speaker, Weight } from "../../src/ops/ops.ts";
import { fillNumbers, type Geometry } from "./synthetic_model.ts";

const F32: Encoding = { kind: "plain", dtype: "f32" };
const [HEAD_WIDTH, VOCABULARY, WINDOW] = [8, 61, 24];
const SEED = 20261124;

/** A whole decoder around a geometry's experts, in f32, with two heads over one and a short window; records are made on request. */
export function syntheticDecoder(speaker: Speaker, geometry: Geometry, slotCount: number, contextLength: number) {
  const { layers, experts, top, width, hidden } = geometry;
  const layout = layExpert(width, hidden, F32, F32, F32);
  const slots = speaker.slots(slotCount, layout.bytes, layers, experts);
  /** Dense weights take the streams behind those of the experts. */
  let stream = layers * experts;
  const load = (matrix: Matrix, numbers: Float32Array<ArrayBuffer>): Weight => {
    const weight = speaker.weight(matrix);
    speaker.write(weight, 0, new Uint8Array(numbers.buffer));
    return weight;
  };
  const matrix = (rows: number, columns: number, gain = 1): Weight => {
    const numbers = new Float32Array(rows * columns);
    fillNumbers(numbers, { seed: SEED, stream: stream++ }, (gain * 3) / Math.sqrt(columns));
    return load(layMatrix(rows, columns, F32), numbers);
  };
  const ones = (): Weight => load(layMatrix(1, width, F32), new Float32Array(width).fill(1));
  const rope = load(
    layMatrix(contextLength, HEAD_WIDTH, F32),
    ropeTable(inverseFrequencies(1e4, HEAD_WIDTH), contextLength) as Float32Array<ArrayBuffer>,
  );
  const caches = Array.from({ length: layers }, () => speaker.cache(WINDOW + 40, HEAD_WIDTH, WINDOW));
  const blocks = caches.map((cache, index) => ({
    attentionNorm: ones(),
    attention: {
      wq: matrix(2 * HEAD_WIDTH, width),
      wk: matrix(HEAD_WIDTH, width),
      wv: matrix(HEAD_WIDTH, width),
      wo: matrix(width, 2 * HEAD_WIDTH, 0.5),
      rope,
      headWidth: HEAD_WIDTH,
    },
    cache,
    ffnNorm: ones(),
    feedForward: mixture(matrix(experts, width), {
      index,
      experts,
      top,
      renormalise: true,
      expert: layout,
      slots,
    }),
  }));
  const parts = {
    embedding: matrix(VOCABULARY, width, 8),
    blocks,
    norm: ones(),
    head: matrix(VOCABULARY, width),
    eps: 1e-5,
  };
  return {
    slots,
    vocabulary: VOCABULARY,
    record(layer: number, expert: number): Uint8Array<ArrayBuffer> {
      const numbers = new Float32Array(layout.bytes / 4);
      fillNumbers(numbers, { seed: SEED, stream: layer * experts + expert }, 0.7);
      return new Uint8Array(numbers.buffer);
    },
    /** All keys and values of the CPU's caches. */
    cached: () => caches.map((cache) => cache as unknown as Record<"keys" | "values", Float32Array>),
    /** What a session needs to know of a loaded model. */
    loaded: (pool: Pool): Loaded =>
      ({
        spec: { width, window: WINDOW, experts: { layers, experts, top }, say: (ops: Ops) => decoder(ops, parts) },
        model: {},
        pool,
        contextLength,
        ring: WINDOW + 40,
        ahead: 0,
      }) as unknown as Loaded,
  };
}
