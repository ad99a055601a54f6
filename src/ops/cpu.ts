/**
 * The meaning of each verb: plain loops that accumulate in f64 and store f32. Every kernel is compared with this file, the scheduler
 * is tested on it in Node, and tiny models run on it where there is no WebGPU.
 */
import { assert } from "../base/assert.ts";
import { hasBit, setBit, wordsOf } from "../base/bits.ts";
import { uniform } from "../base/hash.ts";
import type { ExpertLayout, Matrix } from "../base/matrix.ts";
import { decodeMatrix } from "../format/mlx_affine.ts";
import {
  type Bucket,
  type Cache,
  type Form,
  type Guess,
  type Mark,
  type MoeLayer,
  NONE,
  type Ops,
  type Plan,
  type RecordOptions,
  type Report,
  type Sampling,
  type Slots,
  type Speaker,
  type Step,
  type Taps,
  type Tensor,
  type Weight,
} from "./ops.ts";

/** A thread that computes must let messages in now and then, an abort for one. */
const YIELD_EVERY_MS = 30;

interface CpuTensor extends Tensor {
  readonly data: Float32Array;
}

interface CpuWeight extends Weight {
  readonly bytes: Uint8Array;
  /** Decoded on first use. */
  values: Float32Array | null;
}

interface CpuCache extends Cache {
  readonly keys: Float32Array;
  readonly values: Float32Array;
}

interface CpuSlots extends Slots {
  readonly table: Uint32Array;
  readonly owners: Uint32Array;
  expert(slot: number, layout: ExpertLayout): Expert;
}

interface Expert {
  readonly w1: Float32Array;
  readonly w3: Float32Array;
  readonly w2: Float32Array;
}

/** What outlives a step: the stall word, the last sampled id, the sets of the report. */
interface State {
  stall: number;
  token: number;
  finite: boolean;
  pending: Uint32Array;
  wanted: Uint32Array[];
  guesses: Guess[];
}

interface Instruction {
  readonly run: (step: Step) => void;
  /** Runs although the stall word is set: it serves the pairs just resolved. */
  readonly underStall: boolean;
}

const floats = (x: Tensor): Float32Array => (x as CpuTensor).data;

function weights(w: Weight): Float32Array {
  const weight = w as CpuWeight;
  weight.values ??= decodeMatrix(weight.matrix, weight.bytes);
  return weight.values;
}

/** The reference speaker. Needs nothing but memory: about 12 bytes per 4-bit weight in use. */
export function cpuSpeaker(): Speaker {
  const held = { weights: 0, caches: 0, arena: 0 };
  const pools: CpuSlots[] = [];
  const state: State = { stall: NONE, token: 0, finite: true, pending: new Uint32Array(0), wanted: [], guesses: [] };
  let yielded = Date.now();

  return {
    device: "cpu",
    description: "CPU (reference)",
    lost: new Promise<string>(() => {}),

    weight(matrix): CpuWeight {
      held.weights += matrix.end;
      return { matrix, bytes: new Uint8Array(matrix.end), values: null };
    },

    write(weight, offset, bytes) {
      const target = weight as CpuWeight;
      target.bytes.set(bytes, offset);
      target.values = null;
    },

    cache(ring, width, window): CpuCache {
      held.caches += 8 * ring * width;
      const numbers = ring * width;
      return { ring, width, window, keys: new Float32Array(numbers), values: new Float32Array(numbers) };
    },

    slots(count, bytes, layers, experts) {
      const slots = makeSlots(count, bytes, layers, experts);
      pools.push(slots);
      return slots;
    },

    record(form, bucket, model, options = {}) {
      const recorder = new Recorder(state, bucket, options);
      model(recorder);
      held.arena += recorder.bytes;
      return makePlan(state, form, bucket, recorder, async () => {
        if (Date.now() - yielded < YIELD_EVERY_MS) return;
        await new Promise((resolve) => setTimeout(resolve));
        yielded = Date.now();
      });
    },

    memory: () => ({ ...held, slots: pools.reduce((sum, { count, bytes }) => sum + count * bytes, 0) }),
    close() {},
  };
}

function makeSlots(count: number, bytes: number, layers: number, experts: number): CpuSlots {
  let now = count;
  const records = new Map<number, Uint8Array>();
  const decoded = new Map<number, { layout: ExpertLayout; expert: Expert }>();
  const table = new Uint32Array(layers * experts).fill(NONE);
  const owners = new Uint32Array(Math.max(count, layers * experts)).fill(NONE);
  return {
    get count() {
      return now;
    },
    most: layers * experts,
    bytes,
    layers,
    experts,
    table,
    owners,
    write(slot, offset, data) {
      assert(slot < now && offset + data.length <= bytes, "a record fits its slot");
      const record = records.get(slot) ?? new Uint8Array(bytes);
      record.set(data, offset);
      records.set(slot, record);
      decoded.delete(slot);
    },
    own(slot, owner) {
      owners[slot] = owner;
    },
    map(layer, expert, slot) {
      table[layer * experts + expert] = slot;
    },
    async resize(total, moves = []) {
      const moved = moves.map(({ from, to }) => ({ to, record: records.get(from)! }));
      for (const { to, record } of moved) {
        records.set(to, record);
        decoded.delete(to);
      }
      for (const slot of [...records.keys()]) {
        if (slot < total) continue;
        records.delete(slot);
        decoded.delete(slot);
      }
      now = total;
    },
    expert(slot, layout) {
      const known = decoded.get(slot);
      if (known?.layout === layout) return known.expert;
      const part = (matrix: Matrix) => decodeMatrix(matrix, records.get(slot)!);
      const expert = { w1: part(layout.w1), w3: part(layout.w3), w2: part(layout.w2) };
      decoded.set(slot, { layout, expert });
      return expert;
    },
  };
}

function makePlan(state: State, form: Form, bucket: Bucket, recorder: Recorder, pause: () => Promise<void>): Plan {
  const { instructions, resolves, combines, tapped } = recorder;
  let rows = 0;
  return {
    form,
    bucket,
    begin: 0,
    end: instructions.length,
    resumeAt: (layer) => resolves[layer]!,
    after: (layer) => combines[layer]!,

    async run(step, from, to): Promise<Report> {
      assert(step.count >= 1 && step.count <= bucket, `a step of ${step.count} tokens fits the bucket of ${bucket}`);
      state.stall = NONE;
      state.pending = new Uint32Array(0);
      rows = step.count;
      if (from === 0) {
        state.finite = true;
        state.wanted = recorder.layers.map((layer) => new Uint32Array(wordsOf(layer.experts)));
        state.guesses = [];
      }
      for (const { run, underStall } of instructions.slice(from, to)) if (underStall || state.stall === NONE) run(step);
      const { stall, pending, token, finite, guesses } = state;
      const wanted = state.wanted.map((set) => set.slice());
      const report = { seq: step.seq, began: true, stall, pending, wanted, guesses: [...guesses], token, finite };
      await pause();
      return report;
    },

    async taps() {
      return new Map([...tapped].map(([name, { data, width }]) => [name, data.slice(0, rows * width)]));
    },
  };
}

/** Records what a model says as instructions over tensors of its own. */
class Recorder implements Ops {
  readonly instructions: Instruction[] = [];
  readonly resolves: Mark[] = [];
  readonly combines: Mark[] = [];
  readonly layers: MoeLayer[] = [];
  readonly tapped = new Map<string, { data: Float32Array | Uint32Array; width: number }>();
  readonly ahead: number;
  bytes = 0;

  private readonly state: State;
  private readonly bucket: number;
  private readonly taps: Taps;

  /** No two plans share memory here, so it does not matter which chunk a plan is for. */
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
      const table = weights(w);
      for (let t = 0; t < count; t++) {
        const id = tokens === "sampled" ? state.token : tokens[t]!;
        y.data.set(table.subarray(id * y.width, (id + 1) * y.width), t * y.width);
      }
    });
    return y;
  }

  rmsNorm(x: Tensor, w: Weight, eps: number): Tensor {
    return this.each(x, x.width, (input, output) => {
      const scale = weights(w);
      let squares = 0;
      for (const value of input) squares += value * value;
      const inverse = 1 / Math.sqrt(squares / input.length + eps);
      for (let i = 0; i < input.length; i++) output[i] = scale[i]! * (input[i]! * inverse);
    });
  }

  linear(x: Tensor, w: Weight): Tensor {
    assert(x.width === w.matrix.columns, `${x.width} columns meet a matrix of ${w.matrix.columns}`);
    return this.each(x, w.matrix.rows, (input, output) => multiply(weights(w), input, output));
  }

  rope(x: Tensor, table: Weight): Tensor {
    const width = table.matrix.columns;
    const half = width / 2;
    return this.each(x, x.width, (input, output, position) => {
      const row = weights(table).subarray(position * width, (position + 1) * width);
      for (let head = 0; head < input.length; head += width)
        for (let i = 0; i < half; i++) {
          const [a, b, cos, sin] = [input[head + i]!, input[head + half + i]!, row[i]!, row[half + i]!];
          output[head + i] = a * cos - b * sin;
          output[head + half + i] = b * cos + a * sin;
        }
    });
  }

  attend(q: Tensor, k: Tensor, v: Tensor, cache: Cache, headWidth: number): Tensor {
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
        const scores = new Float64Array(position - first + 1);
        for (let s = first; s <= position; s++) {
          let dot = 0;
          for (let i = 0, at = rowOf(s); i < headWidth; i++) dot += query[begin + i]! * keys[at + i]!;
          scores[s - first] = dot / Math.sqrt(headWidth);
        }
        softmax(scores);
        const sum = new Float64Array(headWidth);
        for (let s = first; s <= position; s++)
          for (let i = 0, at = rowOf(s); i < headWidth; i++) sum[i]! += scores[s - first]! * values[at + i]!;
        output.set(sum, begin);
      }
    });
  }

  swiglu(gate: Tensor, up: Tensor): Tensor {
    return this.each(gate, gate.width, (input, output, _position, t) => {
      const other = floats(up).subarray(t * up.width, (t + 1) * up.width);
      for (let i = 0; i < input.length; i++) output[i] = silu(input[i]!) * other[i]!;
    });
  }

  add(a: Tensor, b: Tensor): Tensor {
    return this.each(a, a.width, (input, output, _position, t) => {
      const other = floats(b).subarray(t * b.width, (t + 1) * b.width);
      for (let i = 0; i < input.length; i++) output[i] = input[i]! + other[i]!;
    });
  }

  moe(x: Tensor, router: Weight, layer: MoeLayer): Tensor {
    const { index, experts, top, renormalise, expert: layout } = layer;
    const { state, bucket } = this;
    const slots = layer.slots as CpuSlots;
    assert(index === this.layers.length, "MoE layers are counted from 0 in order");
    this.layers.push(layer);

    const logits = this.linear(x, router);
    const chosen = new Uint32Array(bucket * top);
    const share = new Float32Array(bucket * top);
    const used = new Uint32Array(wordsOf(experts));
    const done = new Uint32Array(wordsOf(experts));
    const slotNow = new Uint32Array(experts);
    this.push(({ count, marked }) => {
      used.fill(0);
      done.fill(0);
      state.wanted[index] = new Uint32Array(wordsOf(experts));
      for (let t = 0; t < count; t++) {
        const row = floats(logits).subarray(t * experts, (t + 1) * experts);
        const best = topOf(row, top);
        const probabilities = softmax(Float64Array.from(row));
        const sum = renormalise ? best.reduce((total, e) => total + probabilities[e]!, 0) : 1;
        best.forEach((e, rank) => {
          chosen[t * top + rank] = e;
          share[t * top + rank] = probabilities[e]! / sum;
          setBit(used, e);
          if (t >= count - marked) setBit(state.wanted[index]!, e);
        });
      }
    });

    this.resolves[index] = this.instructions.length;
    this.push(() => {
      slotNow.fill(NONE);
      if (state.stall !== NONE) return;
      const pending = new Uint32Array(wordsOf(experts));
      for (let e = 0; e < experts; e++) {
        if (!hasBit(used, e) || hasBit(done, e)) continue;
        const slot = slots.table[index * experts + e]!;
        if (slot < slots.count && slots.owners[slot] === index * experts + e) {
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
    this.push(({ count }) => {
      const hidden = new Float32Array(layout.w1.rows);
      const up = new Float32Array(layout.w3.rows);
      for (let pair = 0; pair < count * top; pair++) {
        const slot = slotNow[chosen[pair]!]!;
        if (slot === NONE) continue;
        const { w1, w3, w2 } = slots.expert(slot, layout);
        const t = Math.floor(pair / top);
        const input = floats(x).subarray(t * x.width, (t + 1) * x.width);
        multiply(w1, input, hidden);
        multiply(w3, input, up);
        for (let i = 0; i < hidden.length; i++) hidden[i] = silu(hidden[i]!) * up[i]!;
        multiply(w2, hidden, pairs.subarray(pair * x.width, (pair + 1) * x.width));
      }
    }, true);

    const y = this.each(x, x.width, (_input, output, _position, t) => {
      for (let i = 0; i < output.length; i++) {
        let sum = 0;
        for (let pair = t * top; pair < (t + 1) * top; pair++) sum += share[pair]! * pairs[pair * x.width + i]!;
        output[i] = sum;
      }
    });
    this.combines[index] = this.instructions.length;
    if (this.taps !== "none") {
      this.keep(`experts.${index}`, chosen, top);
      this.keep(`expert_weights.${index}`, share, top);
    }
    this.tap(`router_logits.${index}`, logits);
    return y;
  }

  guess(x: Tensor, router: Weight, { index, experts, top }: MoeLayer): void {
    const { state } = this;
    const from = this.layers.length;
    const logits = this.linear(x, router);
    this.push(() => {
      const guess = new Uint32Array(wordsOf(experts));
      for (const e of topOf(floats(logits).subarray(0, experts), top)) setBit(guess, e);
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
      const values = floats(logits).subarray(row * logits.width, (row + 1) * logits.width);
      state.finite = values.every(Number.isFinite);
      state.token = draw(values, sample, position + count);
    });
  }

  tap(name: string, x: Tensor): void {
    if (this.taps === "all") this.keep(name, floats(x), x.width);
  }

  /** No tensor's memory is used twice here, so a tap needs no copy of its own; a step that stalls is tapped when it ends. */
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

  /** A verb that makes each row of its result from the same row of x. */
  private each(
    x: Tensor,
    width: number,
    row: (input: Float32Array, output: Float32Array, position: number, t: number) => void,
  ): Tensor {
    const y = this.tensor(x.rows, width);
    this.push(({ position, count, sample }) => {
      const rows = x.rows === "tokens" ? count : sample ? 1 : 0;
      for (let t = 0; t < rows; t++)
        row(
          floats(x).subarray(t * x.width, (t + 1) * x.width),
          y.data.subarray(t * width, (t + 1) * width),
          position + t,
          t,
        );
    });
    return y;
  }
}

const silu = (z: number): number => z / (1 + Math.exp(-z));

/** y = matrix x; matrix [y, x] row-major. */
function multiply(matrix: Float32Array, x: Float32Array, y: Float32Array): void {
  const columns = x.length;
  for (let row = 0, at = 0; row < y.length; row++) {
    let sum = 0;
    for (let i = 0; i < columns; i++, at++) sum += matrix[at]! * x[i]!;
    y[row] = sum;
  }
}

/** In place; maximum subtracted. */
function softmax(values: Float64Array): Float64Array {
  let largest = -Infinity;
  for (const value of values) largest = Math.max(largest, value);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] = Math.exp(values[i]! - largest);
  for (let i = 0; i < values.length; i++) values[i]! /= sum;
  return values;
}

/** The `count` largest, best first; ties to the lowest index. */
function topOf(values: Float32Array, count: number): number[] {
  return Array.from(values.keys())
    .sort((a, b) => values[b]! - values[a]! || a - b)
    .slice(0, count);
}

/** The id that `sampling` draws for the place `position`. */
function draw(logits: Float32Array, { temperature, topK, topP, seed }: Sampling, position: number): number {
  if (temperature === 0) return logits.reduce((best, logit, id) => (logit > logits[best]! ? id : best), 0);
  const order = Float32Array.from(logits).sort().reverse();
  const kth = topK > 0 && topK < logits.length ? order[topK - 1]! : -Infinity;
  const weightOf = (logit: number) => (logit >= kth ? Math.exp((logit - order[0]!) / temperature) : 0);
  const total = logits.reduce((sum, logit) => sum + weightOf(logit), 0);

  let threshold = kth;
  if (topP < 1) {
    let mass = 0;
    for (const logit of order) {
      threshold = logit;
      mass += weightOf(logit);
      if (mass >= topP * total) break;
    }
  }
  const kept = Array.from(logits, (logit) => (logit >= threshold ? weightOf(logit) : 0));
  let left = uniform(seed, position) * kept.reduce((sum, weight) => sum + weight, 0);
  let last = 0;
  for (const [id, weight] of kept.entries()) {
    if (weight === 0) continue;
    last = id;
    left -= weight;
    if (left < 0) break;
  }
  return last;
}
