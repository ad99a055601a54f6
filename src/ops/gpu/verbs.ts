/**
 * How the GPU does each verb, in the order of ops.ts: it records the kernel of the same name. What
 * a dispatch reads and writes is in the shaders; what it means is in ops/cpu.
 */
import { assert } from "../../base/assert.ts";
import { wordsOf } from "../../base/bits.ts";
import { Memory, type Operand, Recording } from "../../gpu/recording.ts";
import { ACTIVATIONS } from "../../kernels/activation.ts";
import { add } from "../../kernels/add.ts";
import { addRow } from "../../kernels/add_row.ts";
import { attendMany } from "../../kernels/attend_many.ts";
import { attendMerge } from "../../kernels/attend_merge.ts";
import { attendOne } from "../../kernels/attend_one.ts";
import { biasValues } from "../../kernels/bias.ts";
import { combine } from "../../kernels/combine.ts";
import { convolve } from "../../kernels/convolve.ts";
import { copy } from "../../kernels/copy.ts";
import { matrixValues } from "../../kernels/decode.ts";
import { embed } from "../../kernels/embed.ts";
import { expertDownMany } from "../../kernels/expert_down_many.ts";
import { expertDownOne } from "../../kernels/expert_down_one.ts";
import { expertUpMany } from "../../kernels/expert_up_many.ts";
import { expertUpOne } from "../../kernels/expert_up_one.ts";
import { gate } from "../../kernels/gate.ts";
import { guess } from "../../kernels/guess.ts";
import { historyWrite } from "../../kernels/history_write.ts";
import { kvWrite } from "../../kernels/kv_write.ts";
import { lastRow } from "../../kernels/last_row.ts";
import { layerNorm } from "../../kernels/layer_norm.ts";
import { linearMany } from "../../kernels/linear_many.ts";
import { linearOne } from "../../kernels/linear_one.ts";
import { resolve } from "../../kernels/resolve.ts";
import { rmsNorm } from "../../kernels/rms_norm.ts";
import { rope } from "../../kernels/rope.ts";
import { routeMany } from "../../kernels/route_many.ts";
import { routeOne } from "../../kernels/route_one.ts";
import { mostTiles, routesLayout } from "../../kernels/routes.ts";
import { sample } from "../../kernels/sample.ts";
import { scale } from "../../kernels/scale.ts";
import { score } from "../../kernels/score.ts";
import { softcap } from "../../kernels/softcap.ts";
import { RULES } from "../../kernels/weigh.ts";
import {
  type Activation,
  type Attention,
  type Bucket,
  type Form,
  type History,
  MAX_HEAD_WIDTH,
  type Mark,
  type MoeLayer,
  type Ops,
  type RecordOptions,
  type Rotation,
  type Routes,
  type RoutingRule,
  type Scores,
  type Taps,
  type Tensor,
  type Weight,
} from "../ops.ts";
import type { Shared } from "./shared.ts";
import type { GpuSlots } from "./slots.ts";
import { bufferOf, type GpuCache, type GpuHistory, type GpuRoutes, type GpuTensor, memoryOf } from "./tensors.ts";

/** Tokens per workgroup of `attend_many`; key positions per workgroup of `attend_one`. */
const QUERIES = 4;
const SPLIT = 256;
/** `route_*`, `resolve` and `guess` have one lane for each expert. */
const MAX_EXPERTS = 256;

export interface Tapped {
  readonly name: string;
  readonly buffer: GPUBuffer;
  readonly width: number;
  readonly type: "f32" | "u32";
}

/** Records the kernels of the verbs that a model calls. */
export class GpuRecorder implements Ops {
  readonly form: Form;
  readonly bucket: Bucket;
  readonly recording = new Recording();
  /** By MoE layer: E, and the word of the report's sets where its set of wanted experts begins. */
  readonly routed: { readonly experts: number; readonly at: number }[] = [];
  readonly resolves: Mark[] = [];
  readonly combines: Mark[] = [];
  readonly kept: Tapped[] = [];
  readonly guesses: { readonly layer: number; readonly from: number; readonly experts: number; readonly at: number }[] =
    [];
  readonly chunk: number;
  readonly ahead: number;
  sampleAt: Mark | null = null;
  /** How many words of the report's sets are taken so far. */
  setWords = 0;

  private readonly shared: Shared;
  private readonly taps: Taps;

  constructor(shared: Shared, form: Form, bucket: Bucket, { taps = "none", chunk = 0, ahead = 0 }: RecordOptions) {
    this.shared = shared;
    this.form = form;
    this.bucket = bucket;
    this.taps = taps;
    this.chunk = chunk;
    this.ahead = ahead;
  }

  embed(w: Weight): Tensor {
    const y = this.tensor("tokens", w.matrix.columns);
    const operands = { w: bufferOf(w), y: memoryOf(y) };
    this.recording.dispatch(embed, matrixValues("w", w.matrix), operands, this.grid(y, 8));
    return y;
  }

  rmsNorm(x: Tensor, w: Weight, eps: number): Tensor {
    const width = w.matrix.rows * w.matrix.columns;
    assert(x.width % width === 0, `${x.width} columns are whole runs of ${width}`);
    const y = this.like(x);
    const operands = { x: memoryOf(x), weight: bufferOf(w), y: memoryOf(y) };
    const constants = { last: last(x), width, offset: w.matrix.weight / 4, share: 1 / width, eps };
    this.recording.dispatch(rmsNorm, constants, operands, [x.width / width, this.rowsOf(x)]);
    return y;
  }

  linear(x: Tensor, w: Weight): Tensor {
    const { rows: height, columns } = w.matrix;
    assert(x.width === columns, `${x.width} columns meet a matrix of ${columns}`);
    const y = this.tensor(x.rows, height);
    const operands = { x: memoryOf(x), w: bufferOf(w), y: memoryOf(y) };
    const constants = { last: last(x), height, ...matrixValues("w", w.matrix) };
    if (this.form === "one") this.recording.dispatch(linearOne, constants, operands, [Math.ceil(height / 16), 1]);
    else
      this.recording.dispatch(linearMany, constants, operands, [
        Math.ceil(height / 32),
        Math.ceil(this.rowsOf(x) / 32),
      ]);
    return y;
  }

  layerNorm(x: Tensor, w: Weight, bias: Weight, eps: number): Tensor {
    assert(w.matrix.columns === x.width && bias.matrix.columns === x.width, `a norm of rows of ${x.width}`);
    const y = this.like(x);
    const at = { offset: w.matrix.weight / 4, shift: bias.matrix.weight / 4 };
    const given = { last: last(x), width: x.width, share: 1 / x.width, ...at, eps };
    const operands = { x: memoryOf(x), weight: bufferOf(w), bias: bufferOf(bias), y: memoryOf(y) };
    this.recording.dispatch(layerNorm, given, operands, [1, this.rowsOf(x)]);
    return y;
  }

  addRow(x: Tensor, bias: Weight): Tensor {
    assert(bias.matrix.columns === x.width, `a bias of ${bias.matrix.columns} meets rows of ${x.width}`);
    const y = this.like(x);
    const given = { last: last(x), width: x.width, offset: bias.matrix.weight / 4 };
    const operands = { x: memoryOf(x), bias: bufferOf(bias), y: memoryOf(y) };
    this.recording.dispatch(addRow, given, operands, this.grid(x, 1));
    return y;
  }

  scale(x: Tensor, factor: number): Tensor {
    const y = this.like(x);
    const operands = { x: memoryOf(x), y: memoryOf(y) };
    this.recording.dispatch(scale, { last: last(x), width: x.width, factor }, operands, this.grid(x, 1));
    return y;
  }

  softcap(x: Tensor, cap: number): Tensor {
    const y = this.like(x);
    const operands = { x: memoryOf(x), y: memoryOf(y) };
    this.recording.dispatch(softcap, { last: last(x), width: x.width, cap }, operands, this.grid(x, 1));
    return y;
  }

  rope(x: Tensor, table: Weight, { headWidth, pairs }: Rotation): Tensor {
    const turned = table.matrix.columns;
    assert(x.width % headWidth === 0 && turned <= headWidth, `${turned} channels of heads of ${headWidth} turn`);
    const y = this.like(x);
    const [step, apart] = pairs === "halves" ? [1, turned / 2] : [2, 1];
    const sizes = { width: x.width, head_width: headWidth, turned, offset: table.matrix.weight / 4 };
    const operands = { x: memoryOf(x), table: bufferOf(table), y: memoryOf(y) };
    this.recording.dispatch(rope, { last: last(x), ...sizes, step, apart }, operands, this.grid(x, 2));
    return y;
  }

  convolve(x: Tensor, w: Weight, history: History): Tensor {
    const { ring, width, window, rows } = history as GpuHistory;
    const { rows: channels, columns: taps, weight } = w.matrix;
    assert(
      x.rows === "tokens" && x.width === width && channels === width && window === taps,
      "the history fits the convolution",
    );
    this.recording.dispatch(historyWrite, { width, ring }, { x: memoryOf(x), history: rows }, this.grid(x, 1));
    const y = this.like(x);
    const operands = { history: rows, w: bufferOf(w), y: memoryOf(y) };
    this.recording.dispatch(convolve, { width, ring, taps, offset: weight / 4 }, operands, this.grid(x, 1));
    return y;
  }

  attend(q: Tensor, k: Tensor, v: Tensor, { cache, headWidth, divisor, sinks }: Attention): Tensor {
    assert(headWidth % 4 === 0 && headWidth <= MAX_HEAD_WIDTH, `a head of ${headWidth} can be attended`);
    assert(q.rows === "tokens" && k.width === cache.width && v.width === cache.width, "keys and values fit the cache");
    assert(!sinks || sinks.matrix.weight === 0, "sinks lie at the begin of their buffer");
    const { ring, width, window, keys, values } = cache as GpuCache;
    const written = { k: memoryOf(k), v: memoryOf(v), keys, values };
    this.recording.dispatch(kvWrite, { width, ring }, written, this.grid(k, 1));
    const y = this.like(q);
    const heads = q.width / headWidth;
    const shape = { heads, head_width: headWidth, window: window ?? 0 };
    const kept = { ...shape, kv_heads: width / headWidth, ring, factor: 1 / divisor };
    const read = { q: memoryOf(q), keys, values };
    // Something must be bound; without sinks it is not read.
    const ends = { sinks: sinks ? bufferOf(sinks) : keys, y: memoryOf(y) };
    const has_sinks = Number(sinks !== null);
    if (this.form === "many") {
      const groups = [heads, Math.ceil(this.bucket / QUERIES)] as const;
      this.recording.dispatch(attendMany, { ...kept, has_sinks }, { ...read, ...ends }, groups);
      return y;
    }
    const splits = Math.ceil((window ?? ring) / SPLIT) + 1;
    const partial = new Memory(4 * heads * splits * (headWidth + 2));
    this.recording.dispatch(attendOne, { ...kept, splits }, { ...read, partial }, [heads, splits]);
    this.recording.dispatch(attendMerge, { ...shape, splits, has_sinks }, { partial, ...ends }, [heads, 1]);
    return y;
  }

  gate(gated: Tensor, up: Tensor, activation: Activation): Tensor {
    const y = this.like(up);
    const run = up.width / gated.width;
    assert(Number.isInteger(run), `${gated.width} gates serve ${up.width} numbers evenly`);
    const operands = { gate: memoryOf(gated), up: memoryOf(up), y: memoryOf(y) };
    const given = { last: last(up), width: up.width, run, ...activationValues(activation) };
    this.recording.dispatch(gate, given, operands, this.grid(up, 1));
    return y;
  }

  add(a: Tensor, b: Tensor): Tensor {
    const y = this.like(a);
    const operands = { a: memoryOf(a), b: memoryOf(b), y: memoryOf(y) };
    this.recording.dispatch(add, { last: last(a), width: a.width }, operands, this.grid(a, 1));
    return y;
  }

  route(logits: Tensor, top: number, rule: RoutingRule): Routes {
    const index = this.routed.length;
    const experts = logits.width;
    assert(this.resolves.length === index, "a layer's routes are used before the next are made");
    assert(logits.rows === "tokens" && experts <= MAX_EXPERTS && top <= experts, "A of E experts can be chosen");
    const buffer = this.shared.lasting(this.chunk).routes(experts, top);
    const at = this.takeSet(experts);
    this.routed.push({ experts, at });
    const scored = this.score(logits, rule);
    const own = rule.kind === "scores" ? rule.expertScale : null;
    const routing = {
      ...{ experts, top, wanted: at, has_own: Number(own !== null), offset: (own?.matrix.weight ?? 0) / 4 },
      ...weighing(rule, scored.shares !== null),
    };
    const kernel = this.form === "one" ? routeOne : routeMany;
    // Something must be bound; what a rule does not know is not read.
    const { keys } = scored;
    const operands = { keys, shares: scored.shares ?? keys, own: own ? bufferOf(own) : keys, routes: buffer };
    this.recording.dispatch(kernel, routing, operands, [1, 1]);
    if (this.taps !== "none") {
      const { chosen, weights } = routesLayout(experts, top);
      this.keep(`experts.${index}`, buffer, top, "u32", chosen);
      this.keep(`expert_weights.${index}`, buffer, top, "f32", weights);
    }
    this.tap(`router_logits.${index}`, logits);
    return { index, experts, top, buffer } as GpuRoutes;
  }

  experts(x: Tensor, routes: Routes, layer: MoeLayer): Tensor {
    const { index, experts, top, slots } = layer;
    assert(routes.index === index && this.resolves.length === index, "a layer's routes are used once, by that layer");
    assert(routes.experts === experts && routes.top === top, "the routes are among the layer's experts");
    const { recording } = this;
    const { buffer } = routes as GpuRoutes;
    const { directory } = slots as GpuSlots;
    recording.cut();
    this.resolves.push(recording.mark);
    const resolving = { experts, top, layer: index, layers: slots.layers, stride: slots.experts };
    recording.dispatch(resolve, resolving, { directory, routes: buffer }, [1, 1]);
    const rows = this.expertRows(x, layer, buffer);
    const y = this.like(x);
    const operands = { x: rows, routes: buffer, y: memoryOf(y) };
    recording.dispatch(combine, { width: x.width, experts, top }, operands, this.grid(x, 1));
    // The experts read x again when the step resumes after a stall, so x must live until here.
    recording.hold(memoryOf(x));
    recording.cut();
    this.combines.push(recording.mark);
    return y;
  }

  guess(logits: Tensor, rule: RoutingRule, { index, experts, top }: MoeLayer): void {
    assert(this.form === "one", "a guess is made for one token");
    const at = this.takeSet(experts);
    this.guesses.push({ layer: index, from: this.routed.length, experts, at });
    const { keys } = this.score(logits, rule);
    this.recording.dispatch(guess, { experts, top, guessed: at }, { keys }, [1, 1]);
  }

  lastRow(x: Tensor): Tensor {
    if (this.taps === "all") return x;
    assert(x.rows === "tokens", "the last row is taken once");
    const y = this.tensor("last", x.width);
    const operands = { x: memoryOf(x), y: memoryOf(y) };
    this.recording.dispatch(lastRow, { width: x.width }, operands, this.grid(y, 1));
    return y;
  }

  sample(logits: Tensor): void {
    this.sampleAt = this.recording.mark;
    const constants = { last: last(logits), vocabulary: logits.width };
    this.recording.dispatch(sample, constants, { logits: memoryOf(logits) }, [1, 1]);
  }

  tap(name: string, x: Tensor): void {
    if (this.taps === "all") this.keep(name, memoryOf(x), x.width, "f32", 0);
  }

  /**
   * By what experts are chosen, and their shares where `route` does not make them itself: the
   * logits will do where nothing is added to a softmax.
   */
  private score(logits: Tensor, rule: RoutingRule): { readonly keys: Memory; readonly shares: Memory | null } {
    if (rule.kind === "sparsemixer" || isPlain(rule)) return { keys: memoryOf(logits), shares: null };
    const { score: by, choiceBias: bias, groups } = rule;
    const experts = logits.width;
    assert(!groups || (experts % groups.count === 0 && experts / groups.count >= 2), "the groups are even");
    const [shares, keys] = [memoryOf(this.like(logits)), memoryOf(this.like(logits))];
    const given = {
      experts,
      is_sigmoid: Number(by === "sigmoid"),
      has_bias: Number(bias !== null),
      offset: (bias?.matrix.weight ?? 0) / 4,
      groups: groups?.count ?? 1,
      best: groups?.best ?? 1,
    };
    const operands = { logits: memoryOf(logits), bias: bias ? bufferOf(bias) : memoryOf(logits), shares, keys };
    this.recording.dispatch(score, given, operands, [1, this.rowsOf(logits)]);
    return { keys, shares };
  }

  /** Where in the report a set of experts will lie. */
  private takeSet(experts: number): number {
    const at = this.setWords;
    this.setWords += wordsOf(experts);
    return at;
  }

  /** expert_up and expert_down of the pairs just resolved; returns their rows [T * A, D]. */
  private expertRows(x: Tensor, { experts, top, activation, expert, slots }: MoeLayer, routes: GPUBuffer): Memory {
    const { w1, w3, w2, biases } = expert;
    assert(w1.columns === x.width && w2.rows === x.width && w1.rows === w2.columns, "the expert fits the model");
    const { page } = slots as GpuSlots;
    const bound = { page_0: page(0), page_1: page(1), page_2: page(2), page_3: page(3), routes };
    const { form, recording, bucket } = this;
    const pairs = bucket * top;
    const up = new Memory(4 * pairs * w1.rows);
    const rows = new Memory(4 * pairs * x.width);
    recording.outlasts(rows);
    const upward = form === "one" ? expertUpOne : expertUpMany;
    const downward = form === "one" ? expertDownOne : expertDownMany;
    const tile = form === "one" ? 16 : 32;
    const many = form === "one" ? top : mostTiles(bucket, experts, top);
    const upConstants = {
      ...{ experts, top, height: w1.rows, ...activationValues(activation) },
      ...{ ...matrixValues("w1", w1), ...matrixValues("w3", w3) },
      ...{ ...biasValues("b1", biases?.b1 ?? null), ...biasValues("b3", biases?.b3 ?? null) },
    };
    const upOperands = { ...bound, x: memoryOf(x), up };
    recording.dispatch(upward, upConstants, upOperands, [Math.ceil(w1.rows / tile), many]);
    const downConstants = {
      ...{ experts, top, height: x.width },
      ...{ ...matrixValues("w2", w2), ...biasValues("b2", biases?.b2 ?? null) },
    };
    const downOperands = { ...bound, up, y: rows };
    recording.dispatch(downward, downConstants, downOperands, [Math.ceil(x.width / tile), many]);
    return rows;
  }

  private keep(name: string, x: Operand, width: number, type: Tapped["type"], offset: number): void {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
    const buffer = this.shared.extra(`tap ${name}`, 4 * this.bucket * width, usage);
    this.recording.dispatch(copy, { width, offset }, { x, y: buffer }, [Math.ceil(width / 64), this.bucket]);
    this.kept.push({ name, buffer, width, type });
  }

  private tensor(rows: Tensor["rows"], width: number): Tensor {
    const memory = new Memory(4 * width * (rows === "last" ? 1 : this.bucket));
    return { rows, width, memory } as Omit<GpuTensor, never> as GpuTensor;
  }

  private like(x: Tensor): Tensor {
    return this.tensor(x.rows, x.width);
  }

  private rowsOf(x: Tensor): number {
    return x.rows === "last" ? 1 : this.bucket;
  }

  /** The grid of workgroups of 64 lanes, where each lane makes `each` numbers of a row. */
  private grid(x: Tensor, each: number): [x: number, y: number] {
    return [Math.ceil(x.width / each / 64), this.rowsOf(x)];
  }
}

/** The value of the override `last` for kernels that work on x. */
const last = (x: Tensor): number => Number(x.rows === "last");

/** What `activation.wgsl` must know. */
function activationValues(activation: Activation) {
  const { alpha, limit } = activation.kind === "clampedSwiglu" ? activation : { alpha: 0, limit: 0 };
  return { activation: ACTIVATIONS[activation.kind], alpha, limit };
}

/** Whether an expert's share is its softmax and nothing else: `route` makes that from the logits. */
const isPlain = ({ score, choiceBias, groups, renormalise }: Scores): boolean =>
  score === "softmax" && !choiceBias && !groups && (renormalise ?? 0) === 0;

/** What `weigh.wgsl` must know. `given`: whether `score` has made the shares. */
function weighing(rule: RoutingRule, given: boolean) {
  switch (rule.kind) {
    case "scores": {
      const { renormalise, scale } = rule;
      const epsilon = renormalise ?? 0;
      const by = given ? RULES.given : RULES.softmax;
      return { rule: by, renormalise: Number(renormalise !== null), epsilon, scale, jitter: 0 };
    }
    case "sparsemixer":
      return { rule: RULES.sparsemixer, renormalise: 0, epsilon: 0, scale: 1, jitter: rule.jitter };
    default:
      return rule satisfies never;
  }
}
