import { loadModel } from "../../src/engine/load.ts";
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
import { computedMixtral, type MixtralShape } from "./computed_mixtral.ts";
import { computedSource } from "./computed_source.ts";
import { affine, plain, random } from "./op_table.ts";

const Q4 = affine(4, 32, "f16");

/**
 * A mixture of experts too small to write sensible text: two layers, grouped queries, a sliding
 * window, and many encodings.
 */
export const STACK = {
  width: 64,
  heads: 4,
  keyValueHeads: 2,
  headWidth: 16,
  hidden: 96,
  experts: 6,
  top: 2,
  vocabulary: 50,
  layers: 2,
  window: 70,
  encodings: {
    embedding: plain("bf16"),
    attention: Q4,
    router: plain("f32"),
    w1: Q4,
    w2: Q4,
    w3: affine(8, 32, "bf16"),
    head: Q4,
  },
  norms: "bf16",
  stacked: true,
} as const satisfies MixtralShape;

const CONTEXT = 400;

export interface Stack {
  readonly speaker: Speaker;
  readonly slots: Slots;
  /** By expert number, layer * experts + expert. */
  readonly records: readonly Uint8Array<ArrayBuffer>[];
  record(form: Form, bucket: Bucket, taps?: Taps, options?: Omit<RecordOptions, "taps">): Plan;
}

/**
 * Opens the stack on a speaker, with the same weights each time and so many empty slots. There may
 * be fewer than a token needs.
 */
export async function makeStack(speaker: Speaker, slotCount: number): Promise<Stack> {
  const { config, tensors } = computedMixtral(STACK);
  const { say, pool, library } = await loadModel(speaker, computedSource(config, tensors), null, {
    quantize: false,
    slots: Math.max(slotCount, STACK.top),
    contextLength: CONTEXT,
  });
  const { slots } = pool!;
  if (slotCount < slots.count) await slots.resize(slotCount);
  const records: Uint8Array<ArrayBuffer>[] = [];
  for (let layer = 0; layer < STACK.layers; layer++)
    for (let expert = 0; expert < STACK.experts; expert++)
      await library!.read(layer, expert, (_offset, bytes) => records.push(bytes));
  return {
    speaker,
    slots,
    records,
    record: (form, bucket, taps, options) => speaker.record(form, bucket, say, { ...options, taps }),
  };
}

/** Puts every expert into a slot. The stack must have as many slots as experts. */
export function fill({ slots, records }: Stack): void {
  records.forEach((record, number) => {
    const slot = records.length - 1 - number;
    slots.write(slot, 0, record);
    slots.own(slot, number);
    slots.map(Math.floor(number / slots.experts), number % slots.experts, slot);
  });
}

export const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, seed: 0 };

/** Repeatable random ids. */
export function someIds(count: number): Uint32Array {
  const next = random(5);
  return Uint32Array.from({ length: count }, () => Math.floor(next() * STACK.vocabulary));
}

/** The steps that run ids in chunks. Each step samples. */
export function chunksOf(ids: Uint32Array, chunk: number, position = 0): Step[] {
  return Array.from({ length: Math.ceil(ids.length / chunk) }, (_, seq) => {
    const tokens = ids.slice(seq * chunk, (seq + 1) * chunk);
    return { seq, position: position + seq * chunk, count: tokens.length, tokens, sample: GREEDY, marked: 16 };
  });
}

/** Empties all slots. */
export function empty({ slots }: Stack): void {
  for (let slot = 0; slot < slots.count; slot++) slots.own(slot, NONE);
  for (let layer = 0; layer < slots.layers; layer++)
    for (let expert = 0; expert < slots.experts; expert++) slots.map(layer, expert, NONE);
}
