import { layExpert, layMatrix, layVector } from "../../src/base/matrix.ts";
import { type BlockParts, type DecoderParts, decoder } from "../../src/layers/decoder.ts";
import { mixture } from "../../src/layers/feed_forward.ts";
import { inverseFrequencies, ropeTable } from "../../src/layers/rope.ts";
import {
  type Bucket,
  type Form,
  NONE,
  type Plan,
  type RecordOptions,
  type Sampling,
  type Slots,
  type Speaker,
  type Step,
  type Taps,
} from "../../src/ops/ops.ts";
import { affine, makeRecord, makeWeight, plain, random } from "./op_table.ts";

/** A mixture of experts too small to speak: random weights, two layers, grouped queries, a sliding window. */
export const STACK = {
  width: 64,
  heads: 4,
  kvHeads: 2,
  headWidth: 16,
  hidden: 96,
  experts: 6,
  top: 2,
  vocabulary: 50,
  layers: 2,
  window: 70,
};

export interface Stack {
  readonly speaker: Speaker;
  readonly slots: Slots;
  /** By layer * experts + expert. */
  readonly records: readonly Uint8Array<ArrayBuffer>[];
  record(form: Form, bucket: Bucket, taps?: Taps, options?: Omit<RecordOptions, "taps">): Plan;
}

/** The stack on a speaker, its weights the same each time, with `slots` empty slots. */
export function makeStack(speaker: Speaker, slotCount: number): Stack {
  const { width, heads, kvHeads, headWidth, hidden, experts, top, vocabulary, layers, window } = STACK;
  const next = random(1);
  const q4 = affine(4, 32, "f16");
  const layout = layExpert(width, hidden, q4, affine(8, 32, "bf16"), q4);
  const matrix = (rows: number, columns: number, encoding = q4) =>
    makeWeight(speaker, layMatrix(rows, columns, encoding), next, 2 / Math.sqrt(columns));
  const vector = (columns: number) => makeWeight(speaker, layVector(columns), next);
  const slots = speaker.slots(slotCount, layout.bytes, layers, experts);
  const positions = 600;
  const rope = speaker.weight(layMatrix(positions, headWidth, plain("f32")));
  speaker.write(
    rope,
    0,
    new Uint8Array(ropeTable(inverseFrequencies(1e4, headWidth), positions).buffer as ArrayBuffer),
  );

  const block = (index: number): BlockParts => ({
    attentionNorm: vector(width),
    attention: {
      wq: matrix(heads * headWidth, width),
      wk: matrix(kvHeads * headWidth, width),
      wv: matrix(kvHeads * headWidth, width),
      wo: matrix(width, heads * headWidth),
      rope,
      headWidth,
    },
    cache: speaker.cache(400, kvHeads * headWidth, window),
    ffnNorm: vector(width),
    feedForward: mixture(matrix(experts, width, plain("f32")), {
      index,
      experts,
      top,
      renormalise: true,
      expert: layout,
      slots,
    }),
  });
  const parts: DecoderParts = {
    embedding: matrix(vocabulary, width, plain("bf16")),
    blocks: Array.from({ length: layers }, (_, index) => block(index)),
    norm: vector(width),
    head: matrix(vocabulary, width),
    eps: 1e-5,
  };
  const records = Array.from({ length: layers * experts }, () => makeRecord(layout, next));
  return {
    speaker,
    slots,
    records,
    record: (form, bucket, taps, options) =>
      speaker.record(form, bucket, (ops) => decoder(ops, parts), { ...options, taps }),
  };
}

/** Puts every expert in a slot; the stack must have as many. */
export function fill({ slots, records }: Stack): void {
  records.forEach((record, number) => {
    const slot = records.length - 1 - number;
    slots.write(slot, 0, record);
    slots.own(slot, number);
    slots.map(Math.floor(number / slots.experts), number % slots.experts, slot);
  });
}

export const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, seed: 0 };

/** Random ids that repeat. */
export function someIds(count: number): Uint32Array {
  const next = random(5);
  return Uint32Array.from({ length: count }, () => Math.floor(next() * STACK.vocabulary));
}

/** The steps that bring ids in chunks, each of which samples. */
export function chunksOf(ids: Uint32Array, chunk: number, position = 0): Step[] {
  return Array.from({ length: Math.ceil(ids.length / chunk) }, (_, seq) => {
    const tokens = ids.slice(seq * chunk, (seq + 1) * chunk);
    return { seq, position: position + seq * chunk, count: tokens.length, tokens, sample: GREEDY, marked: 16 };
  });
}

/** Forgets all experts. */
export function empty({ slots }: Stack): void {
  for (let slot = 0; slot < slots.count; slot++) slots.own(slot, NONE);
  for (let layer = 0; layer < slots.layers; layer++)
    for (let expert = 0; expert < slots.experts; expert++) slots.map(layer, expert, NONE);
}
