/**
 * How the GPU does each verb, in the order of ops.ts: it records the kernel of the same name. What
 * a dispatch reads and writes is in the shaders; what it means is in ops/cpu.
 */
import { assert } from "../../base/assert.ts";
import { wordsOf } from "../../base/bits.ts";
import { Memory, type Operand, Recording } from "../../gpu/recording.ts";
import { add } from "../../kernels/add.ts";
import { attendMany } from "../../kernels/attend_many.ts";
import { attendMerge } from "../../kernels/attend_merge.ts";
import { attendOne } from "../../kernels/attend_one.ts";
import { combine } from "../../kernels/combine.ts";
import { copy } from "../../kernels/copy.ts";
import { matrixValues } from "../../kernels/decode.ts";
import { embed } from "../../kernels/embed.ts";
import { expertDownMany } from "../../kernels/expert_down_many.ts";
import { expertDownOne } from "../../kernels/expert_down_one.ts";
import { expertUpMany } from "../../kernels/expert_up_many.ts";
import { expertUpOne } from "../../kernels/expert_up_one.ts";
import { gate } from "../../kernels/gate.ts";
import { guess } from "../../kernels/guess.ts";
import { kvWrite } from "../../kernels/kv_write.ts";
import { lastRow } from "../../kernels/last_row.ts";
import { linearMany } from "../../kernels/linear_many.ts";
import { linearOne } from "../../kernels/linear_one.ts";
import { resolve } from "../../kernels/resolve.ts";
import { rmsNorm } from "../../kernels/rms_norm.ts";
import { rope } from "../../kernels/rope.ts";
import { routeMany } from "../../kernels/route_many.ts";
import { routeOne } from "../../kernels/route_one.ts";
import { mostTiles, routesLayout } from "../../kernels/routes.ts";
import { sample } from "../../kernels/sample.ts";
import {
  type Activation,
  type Attention,
  type Bucket,
  type Form,
  MAX_HEAD_WIDTH,
  type Mark,
  type MoeLayer,
  type Ops,
  type RecordOptions,
  type Routes,
  type RoutingRule,
  type Taps,
  type Tensor,
  type Weight,
} from "../ops.ts";
import type { Shared } from "./shared.ts";
import type { GpuSlots } from "./slots.ts";
import { bufferOf, type GpuCache, type GpuRoutes, type GpuTensor, memoryOf } from "./tensors.ts";

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
    const constants = { last: last(x), width, offset: w.matrix.weight / 4, eps };
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

  rope(x: Tensor, table: Weight): Tensor {
    const y = this.like(x);
    const constants = {
      last: last(x),
      width: x.width,
      head_width: table.matrix.columns,
      offset: table.matrix.weight / 4,
    };
    const operands = { x: memoryOf(x), table: bufferOf(table), y: memoryOf(y) };
    this.recording.dispatch(rope, constants, operands, this.grid(x, 2));
    return y;
  }

  attend(q: Tensor, k: Tensor, v: Tensor, { cache, headWidth, divisor }: Attention): Tensor {
    assert(headWidth % 8 === 0 && headWidth <= MAX_HEAD_WIDTH, `a head of ${headWidth} can be attended`);
    assert(q.rows === "tokens" && k.width === cache.width && v.width === cache.width, "keys and values fit the cache");
    const { ring, width, window, keys, values } = cache as GpuCache;
    const written = { k: memoryOf(k), v: memoryOf(v), keys, values };
    this.recording.dispatch(kvWrite, { width, ring }, written, this.grid(k, 1));
    const y = this.like(q);
    const heads = q.width / headWidth;
    const shape = { heads, head_width: headWidth, window: window ?? 0 };
    const kept = { ...shape, kv_heads: width / headWidth, ring, divisor };
    const read = { q: memoryOf(q), keys, values };
    if (this.form === "many") {
      const groups = [heads, Math.ceil(this.bucket / QUERIES)] as const;
      this.recording.dispatch(attendMany, kept, { ...read, y: memoryOf(y) }, groups);
      return y;
    }
    const splits = Math.ceil((window ?? ring) / SPLIT) + 1;
    const partial = new Memory(4 * heads * splits * (headWidth + 2));
    this.recording.dispatch(attendOne, { ...kept, splits }, { ...read, partial }, [heads, splits]);
    this.recording.dispatch(attendMerge, { ...shape, splits }, { partial, y: memoryOf(y) }, [heads, 1]);
    return y;
  }

  gate(gated: Tensor, up: Tensor, activation: Activation): Tensor {
    const y = this.like(gated);
    const operands = { gate: memoryOf(gated), up: memoryOf(up), y: memoryOf(y) };
    const constants = { last: last(gated), width: gated.width };
    this.recording.dispatch(gateBy(activation), constants, operands, this.grid(gated, 1));
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
    const routing = { experts, top, wanted: at, ...routingConstants(rule) };
    const kernel = this.form === "one" ? routeOne : routeMany;
    this.recording.dispatch(kernel, routing, { logits: memoryOf(logits), routes: buffer }, [1, 1]);
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
    const kernel = guessBy(rule);
    this.recording.dispatch(kernel, { experts, top, guessed: at }, { logits: memoryOf(logits) }, [1, 1]);
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

  /** Where in the report a set of experts will lie. */
  private takeSet(experts: number): number {
    const at = this.setWords;
    this.setWords += wordsOf(experts);
    return at;
  }

  /** expert_up and expert_down of the pairs just resolved; returns their rows [T * A, D]. */
  private expertRows(x: Tensor, { experts, top, activation, expert, slots }: MoeLayer, routes: GPUBuffer): Memory {
    const { w1, w3, w2 } = expert;
    assert(w1.columns === x.width && w2.rows === x.width && w1.rows === w2.columns, "the expert fits the model");
    const { page } = slots as GpuSlots;
    const bound = { page_0: page(0), page_1: page(1), page_2: page(2), page_3: page(3), routes };
    const { form, recording, bucket } = this;
    const pairs = bucket * top;
    const up = new Memory(4 * pairs * w1.rows);
    const rows = new Memory(4 * pairs * x.width);
    recording.outlasts(rows);
    const upward = expertUpBy(activation, form);
    const downward = form === "one" ? expertDownOne : expertDownMany;
    const tile = form === "one" ? 16 : 32;
    const many = form === "one" ? top : mostTiles(bucket, experts, top);
    const upConstants = { experts, top, height: w1.rows, ...matrixValues("w1", w1), ...matrixValues("w3", w3) };
    const upOperands = { ...bound, x: memoryOf(x), up };
    recording.dispatch(upward, upConstants, upOperands, [Math.ceil(w1.rows / tile), many]);
    const downConstants = { experts, top, height: x.width, ...matrixValues("w2", w2) };
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

/** The kernel of `gate`. */
function gateBy(activation: Activation) {
  switch (activation.kind) {
    case "silu":
      return gate;
    default:
      return activation.kind satisfies never;
  }
}

/** The kernel that makes w1, w3 and the gate of experts. */
function expertUpBy(activation: Activation, form: Form) {
  switch (activation.kind) {
    case "silu":
      return form === "one" ? expertUpOne : expertUpMany;
    default:
      return activation.kind satisfies never;
  }
}

/** What `route_one` and `route_many` must know of a rule. */
function routingConstants(rule: RoutingRule) {
  switch (rule.kind) {
    case "softmax":
      return { renormalise: Number(rule.renormalise) };
    default:
      return rule.kind satisfies never;
  }
}

/** The kernel of `guess`, which needs to know what is chosen, not its weights. */
function guessBy(rule: RoutingRule) {
  switch (rule.kind) {
    case "softmax":
      return guess;
    default:
      return rule.kind satisfies never;
  }
}
