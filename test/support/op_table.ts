/**
 * The vocabulary of `Ops` as a table. Each line applies verbs to random inputs of small, odd
 * shapes. A test runs the line on both speakers and compares; a bench can time it.
 */
import { assert } from "../../src/base/assert.ts";
import { uniform } from "../../src/base/hash.ts";
import {
  type Affine,
  describeEncoding,
  type Encoding,
  type ExpertExtras,
  type ExpertLayout,
  type Float,
  GROUPS as GROUP_SIZES,
  layExpert,
  layMatrix,
  layVector,
  type Matrix,
  MXFP4,
  type Plain,
  weightBits,
} from "../../src/base/matrix.ts";
import { SILU, SOFTMAX } from "../../src/layers/mixture.ts";
import {
  type Activation,
  type Attention,
  type Bucket,
  type Cache,
  type Form,
  type Guess,
  type History,
  type MoeLayer,
  NONE,
  type Ops,
  type Rotation,
  type RoutingRule,
  type Sampling,
  type Scores,
  type Slots,
  type Speaker,
  type Step,
  type Taps,
  type Tensor,
  type Weight,
} from "../../src/ops/ops.ts";
import { ALL } from "./all.ts";

/** Repeatable random numbers: returns the next one in [0, 1). */
export type Random = () => number;

export function random(seed: number): Random {
  let drawn = 0;
  return () => uniform(seed, drawn++);
}

const between = (next: Random, low: number, high: number): number => low + (high - low) * next();
const integer = (next: Random, below: number): number => Math.floor(next() * below);

/** Writes a random float of about `size` as an f32, bf16 or f16; one f16 in eight is subnormal. */
function putFloat(view: DataView, at: number, dtype: Float, size: number, next: Random): void {
  const value = between(next, -1, 1) * size;
  if (dtype === "f32") view.setFloat32(at, value, true);
  else view.setUint16(at, dtype === "bf16" ? bitsOf(value) >>> 16 : halfOf(value, integer(next, 8) === 0), true);
}

const bitsOf = (value: number): number => new Uint32Array(new Float32Array([value]).buffer)[0]!;

/**
 * The bits of a float as f16, truncated; with `subnormal`, those of a number of about 1e-5 instead.
 */
function halfOf(value: number, subnormal: boolean): number {
  const bits = bitsOf(value);
  const exponent = subnormal ? 0 : Math.max(0, ((bits >>> 23) & 255) - 112);
  return ((bits >>> 16) & 0x8000) | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}

/** Fills a matrix with random bytes that decode to weights of about `size`. */
export function fillMatrix(target: Uint8Array<ArrayBuffer>, matrix: Matrix, next: Random, size = 1): void {
  const { columns, encoding, weight, scales, biases, stride } = matrix;
  const rows = matrix.rows * stride;
  const view = new DataView(target.buffer, target.byteOffset);
  if (encoding.kind === "plain") {
    const bytes = encoding.dtype === "f32" ? 4 : 2;
    for (let i = 0; i < rows * columns; i++) putFloat(view, weight + i * bytes, encoding.dtype, size, next);
    return;
  }
  const bits = weightBits(encoding);
  for (let i = weight; i < weight + (rows * columns * bits) / 8; i++) target[i] = integer(next, 256);
  for (let i = 0; i < (rows * columns) / encoding.group; i++) {
    if (encoding.kind === "codebook") {
      target[scales + i] = 127 + Math.floor(Math.log2(size / 4)) - integer(next, 3);
      continue;
    }
    const bytes = encoding.scales === "f32" ? 4 : 2;
    putFloat(view, scales + i * bytes, encoding.scales, (2 * size) / 2 ** bits, next);
    putFloat(view, biases + i * bytes, encoding.scales, size, next);
  }
}

export const plain = (dtype: Float): Plain => ({ kind: "plain", dtype });
export const affine = (bits: Affine["bits"], group: Affine["group"], scales: Float): Affine => ({
  kind: "affine",
  bits,
  group,
  scales,
});

const FLOATS = ["f16", "bf16", "f32"] as const;

const COMMON: readonly Encoding[] = [
  plain("f32"),
  plain("f16"),
  plain("bf16"),
  ...([4, 8] as const).flatMap((bits) =>
    ([32, 64, 128] as const).flatMap((group) => FLOATS.map((scales) => affine(bits, group, scales))),
  ),
];

/** Each of these with each type of scales, and each size of groups with some of them. */
const RARER: readonly Encoding[] = [
  ...([2, 3, 5, 6] as const).flatMap((bits) =>
    FLOATS.map((scales, i) => affine(bits, GROUP_SIZES[(bits + i) % GROUP_SIZES.length]!, scales)),
  ),
  affine(4, 16, "f16"),
  affine(8, 16, "bf16"),
  MXFP4,
];

/** Encodings that a matrix may have. */
export const ENCODINGS: readonly Encoding[] = [...COMMON, ...RARER];

/** An encoding in words, for the titles of tests. */
export const nameOf = (encoding: Encoding): string =>
  encoding.kind === "plain" ? encoding.dtype : `${describeEncoding(encoding)}, ${encoding.scales}`;

/** Experts of random weights, all of them resident. */
export interface Experts {
  readonly layer: MoeLayer;
  readonly records: readonly Uint8Array<ArrayBuffer>[];
}

/** An input of a line's verbs, as a function that makes it on a speaker. */
export type Input<T> = (speaker: Speaker, next: Random, rows: number) => (ops: Ops) => T;

/** A dense matrix of random numbers. */
export const weight =
  (rows: number, columns: number, encoding: Encoding = plain("f32"), size = 1): Input<Weight> =>
  (speaker, next) => {
    const made = makeWeight(speaker, layMatrix(rows, columns, encoding), next, size);
    return () => made;
  };

export const vector =
  (columns: number): Input<Weight> =>
  (speaker, next) => {
    const made = makeWeight(speaker, layVector(columns), next);
    return () => made;
  };

/** An activation [T, width]: row p belongs to position p. */
export const activation =
  (width: number, size = 1): Input<Tensor> =>
  (speaker, next, rows) => {
    const made = makeWeight(speaker, layMatrix(rows, width, plain("f32")), next, size);
    return (ops) => ops.embed(made);
  };

export const cache =
  (ring: number, width: number, window: number | null = null): Input<Cache> =>
  (speaker) => {
    const made = speaker.cache(ring, width, window);
    return () => made;
  };

export const history =
  (ring: number, width: number, window: number): Input<History> =>
  (speaker) => {
    const made = speaker.history(ring, width, window);
    return () => made;
  };

/** A layer of experts, all resident, in slots whose numbers differ from theirs. */
export const experts =
  (
    count: number,
    top: number,
    [width, hidden]: readonly [width: number, hidden: number],
    [w1, w3, w2]: readonly [Encoding, Encoding, Encoding],
    { activation = SILU, ...extras }: ExpertExtras & { readonly activation?: Activation } = {},
  ): Input<MoeLayer> =>
  (speaker, next) => {
    const layout = layExpert(width, hidden, w1, w3, w2, extras);
    const slots = speaker.slots(count + 1, layout.bytes, [count]);
    for (let expert = 0; expert < count; expert++) place(slots, makeRecord(layout, next), 0, expert, count - expert);
    const layer = { index: 0, experts: count, top, activation, expert: layout, slots };
    return () => layer;
  };

/** Writes an expert to a slot, as the pool does. */
export function place(
  slots: Slots,
  record: Uint8Array<ArrayBuffer>,
  layer: number,
  expert: number,
  slot: number,
): void {
  slots.own(slot, NONE);
  slots.write(slot, 0, record);
  slots.own(slot, layer * slots.experts + expert);
  slots.map(layer, expert, slot);
}

/** A random expert whose outputs are about as large as its inputs. */
export function makeRecord(layout: ExpertLayout, next: Random): Uint8Array<ArrayBuffer> {
  const record = new Uint8Array(layout.bytes);
  fillMatrix(record, layout.w1, next, 2 / Math.sqrt(layout.w1.columns));
  fillMatrix(record, layout.w3, next, 2 / Math.sqrt(layout.w3.columns));
  fillMatrix(record, layout.w2, next, 2 / Math.sqrt(layout.w2.columns));
  for (const bias of Object.values(layout.biases ?? {})) fillMatrix(record, bias, next);
  return record;
}

export function makeWeight(speaker: Speaker, matrix: Matrix, next: Random, size = 1): Weight {
  const made = speaker.weight(matrix);
  const bytes = new Uint8Array(matrix.end);
  fillMatrix(bytes, matrix, next, size);
  speaker.write(made, 0, bytes);
  return made;
}

interface Options {
  /**
   * The number of tokens in each step of the form many, one step after the other. The form one runs
   * each token in a step by itself.
   */
  readonly steps?: readonly number[];
  readonly bucket?: Bucket;
  readonly forms?: readonly Form[];
  readonly taps?: Taps;
  readonly sample?: Sampling;
  /** The position of the first token. */
  readonly position?: number;
  readonly tolerance?: number;
}

/** A line of the table. */
export interface OpCase extends Required<Omit<Options, "sample">> {
  readonly title: string;
  readonly sample: Sampling | null;
  /** Makes the inputs, and returns the function that applies the verbs. */
  prepare(speaker: Speaker): (ops: Ops) => void;
}

type Values<I> = { [K in keyof I]: I[K] extends Input<infer T> ? T : never };

/** f32 is compared with f64: sums of some hundred products of numbers of about 1. */
const TOLERANCE = 2e-5;

function line<const I extends readonly Input<unknown>[]>(
  title: string,
  inputs: I,
  say: (ops: Ops, ...values: Values<I>) => Tensor | null,
  options: Options = {},
): OpCase {
  const { steps = [7], position = 0, sample = null } = options;
  const rows = position + steps.reduce((sum, count) => sum + count, 0);
  return {
    title,
    steps,
    position,
    sample,
    bucket: options.bucket ?? 16,
    forms: options.forms ?? ["one", "many"],
    taps: options.taps ?? "all",
    tolerance: options.tolerance ?? TOLERANCE,
    prepare(speaker) {
      const next = random(title.length);
      const made = inputs.map((input) => input(speaker, next, rows));
      return (ops) => {
        const y = say(ops, ...(made.map((value) => value(ops)) as Values<I>));
        if (y) ops.tap("y", y);
      };
    },
  };
}

/**
 * The results of a line: its taps of every step, one after the other, the ids it samples, and its
 * guesses.
 */
export interface Outcome {
  readonly taps: ReadonlyMap<string, readonly number[]>;
  readonly tokens: readonly number[];
  readonly guesses: readonly Guess[];
}

/** The steps that a line takes in a form. */
export function stepsOf({ steps, position, sample }: OpCase, form: Form): Step[] {
  const counts = form === "many" ? steps : steps.flatMap((count) => Array.from({ length: count }, () => 1));
  let at = position;
  return counts.map((count, seq) => {
    const step = { seq, position: at, count, tokens: Uint32Array.from({ length: count }, (_, t) => at + t) };
    at += count;
    return { ...step, sample, marked: count };
  });
}

/** Runs a line on a speaker. */
export async function runCase(speaker: Speaker, op: OpCase, form: Form): Promise<Outcome> {
  const plan = speaker.record(form, form === "one" ? 1 : op.bucket, op.prepare(speaker), { taps: op.taps });
  const taps = new Map<string, number[]>();
  const tokens: number[] = [];
  const guesses: Guess[] = [];
  for (const step of stepsOf(op, form)) {
    const report = await plan.run(step, plan.begin, plan.end);
    assert(report.stall === NONE, `${op.title}: every expert is there`);
    if (step.sample) tokens.push(report.token);
    guesses.push(...report.guesses);
    for (const [name, values] of await plan.taps()) taps.set(name, [...(taps.get(name) ?? []), ...values]);
  }
  return { taps, tokens, guesses };
}

const draw = (temperature: number, topK = 0, topP = 1, seed = 7): Sampling => ({ temperature, topK, topP, seed });
const sampled = (ops: Ops, logits: Tensor): null => {
  ops.sample(logits);
  return null;
};
const q4 = affine(4, 32, "f16");
const RENORMALISED: RoutingRule = { ...SOFTMAX, renormalise: 0 };

/** A mixture of experts, as in `layers/mixture.ts`. */
const moe =
  (rule: RoutingRule = RENORMALISED) =>
  (ops: Ops, x: Tensor, router: Weight, layer: MoeLayer): Tensor =>
    ops.experts(x, ops.route(ops.linear(x, router), layer.top, rule), layer);

/** What heads of width C attend to, in a cache. */
const over = (cache: Cache, headWidth: number, more: Partial<Attention> = {}): Attention => ({
  cache,
  headWidth,
  divisor: Math.sqrt(headWidth),
  sinks: null,
  ...more,
});

const halves = (headWidth: number): Rotation => ({ headWidth, pairs: "halves" });
const adjacent = (headWidth: number): Rotation => ({ headWidth, pairs: "adjacent" });

/** Every activation but silu, which has lines of its own. */
const ACTIVATIONS: readonly Activation[] = [
  { kind: "gelu" },
  { kind: "sigmoid" },
  { kind: "identity" },
  { kind: "clampedSwiglu", alpha: 1.702, limit: 7 },
];

/** A number for each expert: what is added to its choice, or a factor of its weight. */
const perExpert = (size: number) => weight(1, RULED.experts, plain("f32"), size);
/** All rules route to experts of one shape, so that the pipelines of the experts are shared. */
const RULED = { experts: 12, top: 3, width: 32 } as const;
const ruled = () => experts(RULED.experts, RULED.top, [RULED.width, RULED.width], [q4, q4, q4]);

/** What a rule is made of, beside what {@link SOFTMAX} says. */
interface Ruling {
  readonly title: string;
  /** How large logits and numbers per expert are; 0: all are equal. */
  readonly size?: number;
  rule(bias: Weight, factor: Weight): RoutingRule;
}

const GROUPS = { count: 4, best: 2 };
const RULINGS: readonly Ruling[] = [
  { title: "softmax, nothing more", rule: () => SOFTMAX },
  { title: "softmax, scaled, a factor for each expert", rule: (_, own) => scaled(own) },
  { title: "softmax, renormalised with an epsilon", rule: () => ({ ...SOFTMAX, renormalise: 0.3 }) },
  { title: "softmax, a bias on the choice", rule: (bias) => ({ ...SOFTMAX, choiceBias: bias, renormalise: 1e-12 }) },
  { title: "sigmoid", rule: () => ({ ...SOFTMAX, score: "sigmoid" }) },
  {
    title: "sigmoid, a bias on the choice, renormalised, scaled, a factor for each expert",
    rule: (bias, own) => ({ ...scaled(own), score: "sigmoid", choiceBias: bias, renormalise: 1e-6 }),
  },
  { title: "softmax, the best of groups", rule: () => ({ ...SOFTMAX, groups: GROUPS, renormalise: 0 }) },
  {
    title: "sigmoid, the best of groups by biased scores, many of them below zero",
    rule: (bias) => ({ ...SOFTMAX, score: "sigmoid", choiceBias: bias, groups: { count: 6, best: 3 } }),
  },
  {
    title: "groups and experts that are equal",
    size: 0,
    rule: (bias) => ({ ...SOFTMAX, choiceBias: bias, groups: GROUPS }),
  },
  { title: "sparsemixer", rule: () => ({ kind: "sparsemixer", jitter: 0.1 }) },
  { title: "sparsemixer, few are near", size: 3, rule: () => ({ kind: "sparsemixer", jitter: 0.4 }) },
  { title: "sparsemixer, logits that are equal", size: 0, rule: () => ({ kind: "sparsemixer", jitter: 0.01 }) },
];
const deepseek = (bias: Weight): Scores => ({
  ...SOFTMAX,
  score: "sigmoid",
  choiceBias: bias,
  groups: { count: 8, best: 4 },
  renormalise: 1e-20,
});
const scaled = (own: Weight): Scores => ({ ...SOFTMAX, renormalise: 0, scale: 2.5, expertScale: own });

/**
 * For lines that differ in what both forms decode alike: the two forms in turn; all lines in both in
 * `npm run test:all`.
 */
const inTurn = (index: number): Pick<Options, "forms"> => (ALL ? {} : { forms: [index % 2 === 0 ? "many" : "one"] });

export const OP_TABLE: readonly OpCase[] = [
  ...[...COMMON, MXFP4].map((encoding, index) =>
    line(`embed, ${nameOf(encoding)}`, [weight(7, 128, encoding)], (ops, w) => ops.embed(w), inTurn(index)),
  ),
  line("embed, an odd width", [weight(7, 13, plain("bf16"))], (ops, w) => ops.embed(w)),
  line("rmsNorm, fewer columns than lanes", [activation(5), vector(5)], (ops, x, w) => ops.rmsNorm(x, w, 1e-5)),
  line("rmsNorm, more columns than lanes", [activation(333), vector(333)], (ops, x, w) => ops.rmsNorm(x, w, 1e-5)),
  line("rmsNorm, three heads", [activation(3 * 40), vector(40)], (ops, x, w) => ops.rmsNorm(x, w, 1e-5)),
  ...ENCODINGS.map((encoding, index) =>
    line(
      `linear, ${nameOf(encoding)}`,
      [activation(128), weight(37, 128, encoding)],
      (ops, x, w) => ops.linear(x, w),
      inTurn(index),
    ),
  ),
  ...ENCODINGS.slice(0, 3).map((encoding) =>
    line(`linear, odd sizes, ${nameOf(encoding)}`, [activation(45), weight(19, 45, encoding)], (ops, x, w) =>
      ops.linear(x, w),
    ),
  ),
  ...[...([2, 3, 5, 6] as const).map((bits) => affine(bits, 32, "f16")), MXFP4].map((encoding) =>
    line(
      `linear, 19 rows of 160, ${nameOf(encoding)}`,
      [activation(160), weight(19, 160, encoding)],
      (ops, x, w) => ops.linear(x, w),
      { steps: [3] },
    ),
  ),
  line("linear, several tiles of tokens", [activation(96), weight(70, 96, q4)], (ops, x, w) => ops.linear(x, w), {
    steps: [37],
    bucket: 64,
  }),
  line("linear, one row", [activation(8), weight(1, 8)], (ops, x, w) => ops.linear(x, w), { steps: [1] }),
  line("linear, more columns than a pass", [activation(320), weight(20, 320, affine(8, 64, "bf16"))], (ops, x, w) =>
    ops.linear(x, w),
  ),
  line("layerNorm, fewer columns than lanes", [activation(5), vector(5), vector(5)], (ops, x, w, bias) =>
    ops.layerNorm(x, w, bias, 1e-5),
  ),
  line("layerNorm, more columns than lanes", [activation(333, 4), vector(333), vector(333)], (ops, x, w, bias) =>
    ops.layerNorm(x, w, bias, 1e-5),
  ),
  line("addRow", [activation(131), weight(1, 131)], (ops, x, bias) => ops.addRow(x, bias), { tolerance: 1e-7 }),
  line("scale", [activation(77)], (ops, x) => ops.scale(x, -0.3), { tolerance: 1e-7 }),
  line("softcap", [activation(77, 5)], (ops, x) => ops.softcap(x, 2.5)),
  line("softcap, large numbers", [activation(3, 1e5)], (ops, x) => ops.softcap(x, 30)),
  line("rope, two heads", [activation(2 * 8), weight(16, 8)], (ops, x, table) => ops.rope(x, table, halves(8)), {
    position: 5,
  }),
  line("rope, a wide head", [activation(250), weight(9, 250)], (ops, x, table) => ops.rope(x, table, halves(250))),
  line("rope, adjacent pairs", [activation(3 * 12), weight(16, 12)], (ops, x, table) =>
    ops.rope(x, table, adjacent(12)),
  ),
  line("rope, part of each head", [activation(3 * 20), weight(16, 6)], (ops, x, table) =>
    ops.rope(x, table, halves(20)),
  ),
  line("rope, adjacent pairs in part of each head", [activation(2 * 84), weight(16, 70)], (ops, x, table) =>
    ops.rope(x, table, adjacent(84)),
  ),
  line(
    "convolve, round a ring",
    [activation(13, 3), weight(13, 3), history(19, 13, 3)],
    (ops, x, w, kept) => ops.convolve(x, w, kept),
    { steps: [2, 16, 16, 1, 16, 5] },
  ),
  line(
    "convolve, a window longer than the prompt",
    [activation(70), weight(70, 9), history(40, 70, 9)],
    (ops, x, w, kept) => ops.convolve(x, w, kept),
    { steps: [4, 3] },
  ),
  line(
    "convolve, one token at a time",
    [activation(5), weight(5, 1), history(3, 5, 1)],
    (ops, x, w, kept) => ops.convolve(x, w, kept),
    { steps: [1, 1, 1, 1, 1] },
  ),
  line(
    "attend, a head for each",
    [activation(24), activation(24), activation(24), cache(16, 24)],
    (ops, q, k, v, c) => ops.attend(q, k, v, over(c, 8)),
    { steps: [3, 1, 5] },
  ),
  line(
    "attend, grouped queries over several blocks",
    [activation(6 * 16, 3), activation(2 * 16, 3), activation(2 * 16), cache(256, 2 * 16)],
    (ops, q, k, v, c) => ops.attend(q, k, v, over(c, 16)),
    { steps: [61, 5, 64, 20], bucket: 64 },
  ),
  line(
    "attend, a window over a ring",
    [activation(2 * 8, 3), activation(8, 3), activation(8), cache(90, 8, 70)],
    (ops, q, k, v, c) => ops.attend(q, k, v, over(c, 8)),
    { steps: [16, 16, 16, 16, 16, 16, 3, 16, 16, 16] },
  ),
  line(
    "attend, several splits",
    [activation(2 * 8, 3), activation(8, 3), activation(8), cache(800, 8)],
    (ops, q, k, v, c) => ops.attend(q, k, v, over(c, 8)),
    { position: 505, steps: [9, 16] },
  ),
  line(
    "attend, a window over several splits",
    [activation(2 * 8, 3), activation(8, 3), activation(8), cache(330, 8, 300)],
    (ops, q, k, v, c) => ops.attend(q, k, v, over(c, 8)),
    { position: 760, steps: [16, 3] },
  ),
  line(
    "attend, sinks, grouped queries over several blocks",
    [
      activation(6 * 12, 3),
      activation(3 * 12, 3),
      activation(3 * 12),
      weight(1, 6, plain("f32"), 4),
      cache(256, 3 * 12),
    ],
    (ops, q, k, v, sinks, c) => ops.attend(q, k, v, over(c, 12, { sinks })),
    { steps: [61, 9], bucket: 64 },
  ),
  line(
    "attend, sinks that take nearly all, a window over several splits",
    [activation(2 * 12), activation(12), activation(12), weight(1, 2, plain("f32"), 20), cache(330, 12, 300)],
    (ops, q, k, v, sinks, c) => ops.attend(q, k, v, over(c, 12, { sinks })),
    { position: 760, steps: [16, 3] },
  ),
  line(
    "attend, heads of 512, sinks, several blocks and splits",
    [activation(2 * 512), activation(512), activation(512), weight(1, 2, plain("f32"), 4), cache(300, 512)],
    (ops, q, k, v, sinks, c) => ops.attend(q, k, v, over(c, 512, { sinks })),
    { position: 250, steps: [9] },
  ),
  ...[72, 260].map((width) =>
    line(
      `attend, heads of ${width}`,
      [activation(2 * width), activation(width), activation(width), cache(9, width)],
      (ops, q, k, v, c) => ops.attend(q, k, v, over(c, width)),
    ),
  ),
  line(
    "attend, another divisor than sqrt(C)",
    [activation(4 * 16, 3), activation(2 * 16, 3), activation(2 * 16), cache(64, 2 * 16)],
    (ops, q, k, v, c) => ops.attend(q, k, v, over(c, 16, { divisor: 7.3 })),
    { steps: [16, 3] },
  ),
  line("gate, silu", [activation(77, 9), activation(77)], (ops, gate, up) => ops.gate(gate, up, SILU)),
  line("gate, silu, large numbers", [activation(3, 300), activation(3)], (ops, gate, up) => ops.gate(gate, up, SILU)),
  ...ACTIVATIONS.flatMap((activate) => [
    line(`gate, ${activate.kind}`, [activation(77, 9), activation(77, 9)], (ops, gate, up) =>
      ops.gate(gate, up, activate),
    ),
    line(`gate, ${activate.kind}, large numbers`, [activation(3, 300), activation(3)], (ops, gate, up) =>
      ops.gate(gate, up, activate),
    ),
  ]),
  line("gate, one for a run of numbers", [activation(3, 4), activation(3 * 23)], (ops, gate, up) =>
    ops.gate(gate, up, { kind: "sigmoid" }),
  ),
  line("gate, one for all", [activation(1, 4), activation(70)], (ops, gate, up) =>
    ops.gate(gate, up, { kind: "sigmoid" }),
  ),
  line("add", [activation(131), activation(131)], (ops, a, b) => ops.add(a, b), { tolerance: 1e-7 }),
  ...[0, 1, 2, 3, 4, 5, 6].map((third) => {
    const three = [COMMON[third]!, COMMON[third + 7]!, COMMON[third + 14]!] as const;
    return line(
      `moe, ${three.map(nameOf).join("; ")}`,
      [activation(128), weight(4, 128), experts(4, 2, [128, 128], three)],
      moe(),
      inTurn(third),
    );
  }),
  ...[SILU, ...ACTIVATIONS].map((activate, third) => {
    const three = [RARER[third]!, RARER[third + 5]!, RARER[third + 10]!] as const;
    return line(
      `moe, ${activate.kind}, ${three.map(nameOf).join("; ")}`,
      [activation(128), weight(4, 128), experts(4, 2, [128, 128], three, { activation: activate })],
      moe(),
      inTurn(third),
    );
  }),
  line(
    "moe, as gpt-oss is published: w1 and w3 alternate, and so do their biases",
    [
      activation(96),
      weight(5, 96),
      experts(5, 3, [96, 32], [MXFP4, MXFP4, MXFP4], {
        alternate: true,
        biases: { b1: plain("bf16"), b3: plain("bf16"), b2: plain("bf16"), alternate: true },
        activation: { kind: "clampedSwiglu", alpha: 1.702, limit: 7 },
      }),
    ],
    moe(),
  ),
  line(
    "moe, alternating rows of odd widths, biases of each type",
    [
      activation(45),
      weight(5, 45),
      experts(5, 3, [45, 21], [plain("bf16"), plain("bf16"), plain("f32")], {
        alternate: true,
        biases: { b1: plain("f32"), b3: plain("f16"), b2: plain("bf16"), alternate: false },
      }),
    ],
    moe(),
  ),
  line(
    "moe, an encoding for each matrix, odd widths",
    [
      activation(45),
      weight(5, 45, plain("bf16")),
      experts(5, 3, [45, 21], [plain("bf16"), plain("f32"), plain("f16")]),
    ],
    moe(),
  ),
  line(
    "moe, weights not renormalised, all experts",
    [activation(32), weight(3, 32), experts(3, 3, [32, 32], [q4, q4, q4])],
    moe(SOFTMAX),
  ),
  line(
    "moe, many experts, several tiles of one",
    [activation(32), weight(40, 32), experts(40, 4, [32, 32], [q4, q4, q4])],
    moe(),
    { steps: [150], bucket: 256 },
  ),
  line(
    "moe, equal logits go to the lowest ids",
    [activation(32), weight(6, 32, plain("f32"), 0), experts(6, 2, [32, 32], [q4, q4, q4])],
    moe(),
  ),
  ...RULINGS.map(({ title, size = 1, rule }, index) =>
    line(
      `moe by ${title}`,
      [
        activation(RULED.width),
        weight(RULED.experts, RULED.width, plain("f32"), size),
        ruled(),
        perExpert(size),
        perExpert(2),
      ],
      (ops, x, router, layer, bias, own) => moe(rule(bias, own))(ops, x, router, layer),
      { steps: [13], ...inTurn(index) },
    ),
  ),
  line(
    "moe, as many experts as there can be, ten of the best of eight groups",
    [activation(32), weight(256, 32), experts(256, 10, [32, 32], [q4, q4, q4]), weight(1, 256)],
    (ops, x, router, layer, bias) => moe(deepseek(bias))(ops, x, router, layer),
  ),
  ...RULINGS.filter(({ size = 1 }) => size > 0).map(({ title, rule }) =>
    line(
      `guess by ${title}`,
      [activation(RULED.width), weight(RULED.experts, RULED.width), ruled(), perExpert(1), perExpert(2)],
      (ops, x, router, layer, bias, own) => {
        ops.guess(ops.linear(x, router), rule(bias, own), layer);
        return moe()(ops, ops.add(x, x), router, layer);
      },
      { forms: ["one"], steps: [3] },
    ),
  ),
  ...[
    ["few experts", 5, 2, 1],
    ["more experts than a word has bits", 70, 8, 1],
    ["equal logits go to the lowest ids", 6, 3, 0],
  ].map(([title, count, top, size]) =>
    line(
      `guess, ${title}`,
      [
        activation(32),
        weight(count as number, 32, plain("f32"), size as number),
        experts(count as number, top as number, [32, 32], [q4, q4, q4]),
      ],
      (ops, x, router, layer) => {
        ops.guess(ops.linear(x, router), RENORMALISED, layer);
        return moe()(ops, ops.add(x, x), router, layer);
      },
      { forms: ["one"] },
    ),
  ),
  line("sample, the largest", [activation(1003)], sampled, { sample: draw(0) }),
  line("sample, ties to the lowest id", [activation(700, 0)], sampled, { sample: draw(0) }),
  line("sample, at a temperature", [activation(1003)], sampled, { sample: draw(0.8) }),
  line("sample, the topK", [activation(1003)], sampled, { sample: draw(1.3, 5) }),
  line("sample, to topP", [activation(1003, 5)], sampled, { sample: draw(1, 0, 0.7) }),
  line("sample, topK then topP", [activation(1003, 2)], sampled, { sample: draw(0.7, 40, 0.9, 99) }),
  line("sample, a small vocabulary", [activation(3)], sampled, { sample: draw(1, 2, 0.99) }),
  line(
    "lastRow, then what follows on one row",
    [activation(40), vector(40), weight(40, 40), weight(40, 40)],
    (ops, x, norm, w, head) => {
      const y = ops.rmsNorm(ops.lastRow(x), norm, 1e-6);
      const h = ops.add(y, ops.gate(ops.linear(y, w), y, SILU));
      return sampled(ops, ops.linear(h, head));
    },
    { taps: "none", sample: draw(0) },
  ),
];
