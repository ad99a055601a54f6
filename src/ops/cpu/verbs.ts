/**
 * The meaning of each verb, in the order of ops.ts: plain loops that accumulate in f64 and store
 * f32. Every kernel is compared with this file, the scheduler is tested on it in Node, and tiny
 * models run on it where there is no WebGPU.
 */
import { assert } from "../../base/assert.ts";
import { hasBit, setBit, wordsOf } from "../../base/bits.ts";
import {
  type Activation,
  type Attention,
  type History,
  type Mark,
  type MoeLayer,
  NONE,
  type Ops,
  type RecordOptions,
  type Rotation,
  type Routes,
  type RoutingRule,
  type Scores,
  type Sparsemixer,
  type Step,
  type Taps,
  type Tensor,
  type Weight,
} from "../ops.ts";
import { activate, addTo, multiply, sigmoid, softmax, topOf } from "./arithmetic.ts";
import { draw } from "./sampling.ts";
import type { CpuSlots } from "./slots.ts";
import {
  type CpuCache,
  type CpuHistory,
  type CpuTensor,
  floats,
  type Instruction,
  numbersOf,
  type State,
} from "./tensors.ts";

/** The routes of a step, by pair = t * A + rank. */
interface CpuRoutes extends Routes {
  /** By pair, its expert and that expert's weight. */
  readonly chosen: Uint32Array;
  readonly weights: Float32Array;
  /**
   * Bits per expert: `used` those chosen in this step, `done` those served in this pass or an
   * earlier one.
   */
  readonly used: Uint32Array;
  readonly done: Uint32Array;
}

/** Records what a model says as instructions over tensors of its own. */
export class CpuRecorder implements Ops {
  readonly instructions: Instruction[] = [];
  readonly resolves: Mark[] = [];
  readonly combines: Mark[] = [];
  /** By MoE layer. */
  readonly routed: Routes[] = [];
  readonly tapped = new Map<string, { data: Float32Array | Uint32Array; width: number }>();
  readonly ahead: number;
  bytes = 0;

  private readonly state: State;
  private readonly bucket: number;
  private readonly taps: Taps;

  /** `chunk` of the options is ignored: here no two plans share memory. */
  constructor(state: State, bucket: number, { taps = "none", ahead = 0 }: RecordOptions) {
    this.state = state;
    this.bucket = bucket;
    this.taps = taps;
    this.ahead = ahead;
  }

  embed(w: Weight): Tensor {
    const y = this.tensor("tokens", w.matrix.columns);
    const { state } = this;
    this.push(({ tokens, count }) => {
      const table = numbersOf(w);
      for (let t = 0; t < count; t++) {
        const id = tokens === "sampled" ? state.token : tokens[t]!;
        y.data.set(table.subarray(id * y.width, (id + 1) * y.width), t * y.width);
      }
    });
    return y;
  }

  rmsNorm(x: Tensor, w: Weight, eps: number): Tensor {
    const width = w.matrix.rows * w.matrix.columns;
    assert(x.width % width === 0, `${x.width} columns are whole runs of ${width}`);
    return this.each(x, x.width, (row, output) => {
      const scale = numbersOf(w);
      for (let begin = 0; begin < row.length; begin += width) {
        let squares = 0;
        for (let i = 0; i < width; i++) squares += row[begin + i]! * row[begin + i]!;
        const inverse = 1 / Math.sqrt(squares / width + eps);
        for (let i = 0; i < width; i++) output[begin + i] = scale[i]! * (row[begin + i]! * inverse);
      }
    });
  }

  linear(x: Tensor, w: Weight): Tensor {
    assert(x.width === w.matrix.columns, `${x.width} columns meet a matrix of ${w.matrix.columns}`);
    const y = this.tensor(x.rows, w.matrix.rows);
    this.push((step) => {
      const rows = rowsIn(step, x);
      multiply(numbersOf(w), floats(x).subarray(0, rows * x.width), y.data.subarray(0, rows * y.width), rows);
    });
    return y;
  }

  layerNorm(x: Tensor, w: Weight, bias: Weight, eps: number): Tensor {
    assert(w.matrix.columns === x.width && bias.matrix.columns === x.width, `a norm of rows of ${x.width}`);
    return this.each(x, x.width, (row, output) => {
      const [scale, shift] = [numbersOf(w), numbersOf(bias)];
      const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
      const inverse = 1 / Math.sqrt(variance + eps);
      for (let i = 0; i < row.length; i++) output[i] = scale[i]! * ((row[i]! - mean) * inverse) + shift[i]!;
    });
  }

  addRow(x: Tensor, bias: Weight): Tensor {
    assert(bias.matrix.columns === x.width, `a bias of ${bias.matrix.columns} meets rows of ${x.width}`);
    return this.each(x, x.width, (row, output) => {
      const numbers = numbersOf(bias);
      for (let i = 0; i < row.length; i++) output[i] = row[i]! + numbers[i]!;
    });
  }

  scale(x: Tensor, factor: number): Tensor {
    return this.each(x, x.width, (row, output) => {
      for (let i = 0; i < row.length; i++) output[i] = factor * row[i]!;
    });
  }

  softcap(x: Tensor, cap: number): Tensor {
    return this.each(x, x.width, (row, output) => {
      for (let i = 0; i < row.length; i++) output[i] = cap * Math.tanh(row[i]! / cap);
    });
  }

  rope(x: Tensor, table: Weight, { headWidth, pairs }: Rotation): Tensor {
    const width = table.matrix.columns;
    const half = width / 2;
    assert(x.width % headWidth === 0 && width <= headWidth, `${width} channels of heads of ${headWidth} turn`);
    const [step, apart] = pairs === "halves" ? [1, half] : [2, 1];
    return this.each(x, x.width, (input, output, position) => {
      const row = numbersOf(table).subarray(position * width, (position + 1) * width);
      output.set(input);
      for (let head = 0; head < input.length; head += headWidth)
        for (let i = 0; i < half; i++) {
          const first = head + step * i;
          const [a, b, cos, sin] = [input[first]!, input[first + apart]!, row[i]!, row[half + i]!];
          output[first] = a * cos - b * sin;
          output[first + apart] = b * cos + a * sin;
        }
    });
  }

  convolve(x: Tensor, w: Weight, history: History): Tensor {
    const { ring, width, window, rows: kept } = history as CpuHistory;
    const { rows, columns: n } = w.matrix;
    assert(
      x.rows === "tokens" && x.width === width && rows === width && window === n,
      "the history fits the convolution",
    );
    this.push(({ count, position }) => {
      for (let t = 0; t < count; t++) kept.set(rowOf(x, t), ((position + t) % ring) * width);
    });
    return this.each(x, width, (_input, output, position) => {
      const taps = numbersOf(w);
      const first = Math.max(0, position - n + 1);
      for (let c = 0; c < width; c++) {
        let sum = 0;
        for (let p = first; p <= position; p++)
          sum += taps[c * n + n - 1 - position + p]! * kept[(p % ring) * width + c]!;
        output[c] = sum;
      }
    });
  }

  attend(q: Tensor, k: Tensor, v: Tensor, { cache, headWidth, divisor, sinks }: Attention): Tensor {
    const { ring, width, window, keys, values } = cache as CpuCache;
    const group = q.width / width;
    this.push(({ position, count }) => {
      for (let t = 0; t < count; t++) {
        const at = ((position + t) % ring) * width;
        keys.set(floats(k).subarray(t * width, (t + 1) * width), at);
        values.set(floats(v).subarray(t * width, (t + 1) * width), at);
      }
    });
    return this.each(q, q.width, (query, output, position) => {
      const first = window === null ? 0 : Math.max(0, position - window + 1);
      assert(position - first < ring, "the ring holds the window");
      for (let head = 0; head * headWidth < query.length; head++) {
        const begin = head * headWidth;
        const shared = Math.floor(head / group) * headWidth;
        const rowOf = (s: number) => (s % ring) * width + shared;
        const scores = new Float64Array(position - first + 1 + Number(sinks !== null));
        if (sinks) scores[position - first + 1] = numbersOf(sinks)[head]!;
        for (let s = first; s <= position; s++) {
          let dot = 0;
          for (let i = 0, at = rowOf(s); i < headWidth; i++) dot += query[begin + i]! * keys[at + i]!;
          scores[s - first] = dot / divisor;
        }
        softmax(scores);
        const sum = new Float64Array(headWidth);
        for (let s = first; s <= position; s++)
          for (let i = 0, at = rowOf(s); i < headWidth; i++) sum[i]! += scores[s - first]! * values[at + i]!;
        output.set(sum, begin);
      }
    });
  }

  gate(gate: Tensor, up: Tensor, activation: Activation): Tensor {
    const act = activate(activation);
    const run = up.width / gate.width;
    assert(Number.isInteger(run), `${gate.width} gates serve ${up.width} numbers evenly`);
    return this.each(up, up.width, (other, output, _position, t) => {
      const input = rowOf(gate, t);
      for (let i = 0; i < other.length; i++) output[i] = act(input[Math.floor(i / run)]!, other[i]!);
    });
  }

  add(a: Tensor, b: Tensor): Tensor {
    return this.each(a, a.width, (input, output, _position, t) => {
      const other = rowOf(b, t);
      for (let i = 0; i < input.length; i++) output[i] = input[i]! + other[i]!;
    });
  }

  route(logits: Tensor, top: number, rule: RoutingRule): Routes {
    const { state, bucket } = this;
    const index = this.routed.length;
    const experts = logits.width;
    assert(this.resolves.length === index, "a layer's routes are used before the next are made");
    assert(logits.rows === "tokens" && top <= experts, "A of E experts can be chosen");
    const words = wordsOf(experts);
    const chosen = new Uint32Array(bucket * top);
    const weights = new Float32Array(bucket * top);
    const [used, done] = [new Uint32Array(words), new Uint32Array(words)];
    const routes = { index, experts, top, chosen, weights, used, done } as CpuRoutes;
    this.routed.push(routes);
    const choose = chooseBy(rule, top);
    this.push(({ count, marked }) => {
      used.fill(0);
      done.fill(0);
      const wanted = new Uint32Array(words);
      for (let t = 0; t < count; t++)
        for (const [rank, { expert, weight }] of choose(rowOf(logits, t)).entries()) {
          chosen[t * top + rank] = expert;
          weights[t * top + rank] = weight;
          setBit(used, expert);
          if (t >= count - marked) setBit(wanted, expert);
        }
      state.wanted[index] = wanted;
    });
    if (this.taps !== "none") {
      this.keep(`experts.${index}`, chosen, top);
      this.keep(`expert_weights.${index}`, weights, top);
    }
    this.tap(`router_logits.${index}`, logits);
    return routes;
  }

  experts(x: Tensor, routes: Routes, layer: MoeLayer): Tensor {
    const { index, experts, top, activation, expert: layout } = layer;
    const { chosen, weights, used, done } = routes as CpuRoutes;
    const slots = layer.slots as CpuSlots;
    const { state, bucket } = this;
    assert(routes.index === index && this.resolves.length === index, "a layer's routes are used once, by that layer");
    assert(routes.experts === experts && routes.top === top, "the routes are among the layer's experts");

    const slotNow = new Uint32Array(experts);
    this.resolves.push(this.instructions.length);
    this.push(() => {
      slotNow.fill(NONE);
      if (state.stall !== NONE) return;
      const pending = new Uint32Array(used.length);
      for (let e = 0; e < experts; e++) {
        if (!hasBit(used, e) || hasBit(done, e)) continue;
        const owner = index * slots.experts + e;
        const slot = slots.table[owner]!;
        if (slot < slots.count && slots.owners[slot] === owner) {
          slotNow[e] = slot;
          setBit(done, e);
        } else setBit(pending, e);
      }
      if (pending.every((word) => word === 0)) return;
      state.stall = index;
      state.pending = pending;
    }, true);

    const pairs = new Float32Array(bucket * top * x.width);
    this.bytes += pairs.byteLength;
    const act = activate(activation);
    this.push(({ count }) => {
      const hidden = new Float32Array(layout.w1.rows);
      const up = new Float32Array(layout.w3.rows);
      for (let pair = 0; pair < count * top; pair++) {
        const slot = slotNow[chosen[pair]!]!;
        if (slot === NONE) continue;
        const { w1, w3, w2, b1, b3, b2 } = slots.expert(slot, layout);
        const output = pairs.subarray(pair * x.width, (pair + 1) * x.width);
        const input = rowOf(x, Math.floor(pair / top));
        multiply(w1, input, hidden, 1);
        multiply(w3, input, up, 1);
        if (b1) addTo(hidden, b1);
        if (b3) addTo(up, b3);
        for (let i = 0; i < hidden.length; i++) hidden[i] = act(hidden[i]!, up[i]!);
        multiply(w2, hidden, output, 1);
        if (b2) addTo(output, b2);
      }
    }, true);

    const y = this.each(x, x.width, (_input, output, _position, t) => {
      for (let i = 0; i < output.length; i++) {
        let sum = 0;
        for (let pair = t * top; pair < (t + 1) * top; pair++) sum += weights[pair]! * pairs[pair * x.width + i]!;
        output[i] = sum;
      }
    });
    this.combines.push(this.instructions.length);
    return y;
  }

  guess(logits: Tensor, rule: RoutingRule, { index, experts, top }: MoeLayer): void {
    assert(this.bucket === 1, "a guess is made for one token");
    const { state } = this;
    const from = this.routed.length;
    const choose = chooseBy(rule, top);
    this.push(() => {
      const guess = new Uint32Array(wordsOf(experts));
      for (const { expert } of choose(rowOf(logits, 0))) setBit(guess, expert);
      state.guesses.push({ layer: index, from, experts: guess });
    });
  }

  lastRow(x: Tensor): Tensor {
    if (this.taps === "all") return x;
    const y = this.tensor("last", x.width);
    this.push(({ count, sample }) => {
      if (sample) y.data.set(floats(x).subarray((count - 1) * x.width, count * x.width));
    });
    return y;
  }

  sample(logits: Tensor): void {
    const { state } = this;
    this.push(({ sample, position, count }) => {
      if (!sample) return;
      const row = logits.rows === "last" ? 0 : count - 1;
      const values = rowOf(logits, row);
      state.finite = values.every(Number.isFinite);
      state.token = draw(values, sample, position + count);
    });
  }

  tap(name: string, x: Tensor): void {
    if (this.taps === "all") this.keep(name, floats(x), x.width);
  }

  /**
   * Taps a tensor. It needs no copy, since no tensor's memory is reused here. `taps` reads it after
   * the step has ended, also where the step stalled in between.
   */
  private keep(name: string, data: Float32Array | Uint32Array, width: number): void {
    this.tapped.set(name, { data, width });
  }

  private tensor(rows: Tensor["rows"], width: number): CpuTensor {
    const data = new Float32Array((rows === "last" ? 1 : this.bucket) * width);
    this.bytes += data.byteLength;
    return { rows, width, data } as CpuTensor;
  }

  private push(run: (step: Step) => void, underStall = false): void {
    this.instructions.push({ run, underStall });
  }

  /** Records a verb that makes each row of its result from the same row of x. */
  private each(
    x: Tensor,
    width: number,
    row: (input: Float32Array, output: Float32Array, position: number, t: number) => void,
  ): Tensor {
    const y = this.tensor(x.rows, width);
    this.push((step) => {
      const rows = rowsIn(step, x);
      const { position } = step;
      for (let t = 0; t < rows; t++) row(rowOf(x, t), y.data.subarray(t * width, (t + 1) * width), position + t, t);
    });
    return y;
  }
}

/** Rows of a tensor that a step computes. */
const rowsIn = ({ count, sample }: Step, x: Tensor): number => (x.rows === "tokens" ? count : sample ? 1 : 0);

const rowOf = (x: Tensor, t: number): Float32Array => floats(x).subarray(t * x.width, (t + 1) * x.width);

type Choose = (logits: Float32Array) => { readonly expert: number; readonly weight: number }[];

/** What a rule makes of one token's logits: experts, best first, and their weights. */
function chooseBy(rule: RoutingRule, top: number): Choose {
  switch (rule.kind) {
    case "scores":
      return chooseByScores(rule, top);
    case "sparsemixer":
      return chooseSparsely(rule, top);
    default:
      return rule satisfies never;
  }
}

function chooseByScores(rule: Scores, top: number): Choose {
  const { score, choiceBias, groups, renormalise, scale, expertScale } = rule;
  return (logits) => {
    const scores = score === "softmax" ? softmax(Float64Array.from(logits)) : Float64Array.from(logits, sigmoid);
    const bias = choiceBias && numbersOf(choiceBias);
    // Chosen by f32 numbers, as on the GPU.
    const biased = bias || groups ? Float32Array.from(scores, (p, e) => p + (bias?.[e] ?? 0)) : logits;
    const best = topOf(groups ? withinGroups(biased, groups) : biased, top);
    const sum = renormalise === null ? 1 : best.reduce((total, e) => total + scores[e]!, renormalise);
    const own = expertScale && numbersOf(expertScale);
    return best.map((expert) => ({ expert, weight: (scores[expert]! / sum) * scale * (own?.[expert] ?? 1) }));
  };
}

/** The values, with -Infinity outside the best groups. */
function withinGroups(values: Float32Array, { count, best }: NonNullable<Scores["groups"]>): Float32Array {
  const size = values.length / count;
  assert(Number.isInteger(size) && size >= 2, `${values.length} experts are ${count} groups`);
  const worth = Float32Array.from({ length: count }, (_, group) => {
    const members = values.slice(group * size, (group + 1) * size);
    const [first, second] = topOf(members, 2);
    return members[first!]! + members[second!]!;
  });
  const kept = new Set(topOf(worth, best));
  return values.map((value, e) => (kept.has(Math.floor(e / size)) ? value : Number.NEGATIVE_INFINITY));
}

function chooseSparsely({ jitter }: Sparsemixer, top: number): Choose {
  return (logits) => {
    const taken = new Set<number>();
    return topOf(logits, top).map((expert) => {
      const best = logits[expert]!;
      let sum = 0;
      for (const [e, s] of logits.entries())
        if (!taken.has(e) && best - s <= 2 * jitter * Math.max(Math.abs(s), best)) sum += Math.exp(s - best);
      taken.add(expert);
      return { expert, weight: 1 / sum };
    });
  };
}
