/**
 * The speaker that is fast: each verb records the kernel of its name. What a plan's dispatches read and write is in the shaders; what
 * they mean is in `cpu.ts`.
 */
import { assert, defined } from "../base/assert.ts";
import { wordsOf } from "../base/bits.ts";
import type { Matrix } from "../base/matrix.ts";
import { Arena } from "../gpu/arena.ts";
import { type Device, requestDevice } from "../gpu/device.ts";
import { Pipelines } from "../gpu/kernel.ts";
import { Memory, type Operand, Recording } from "../gpu/plan.ts";
import { Runner } from "../gpu/runner.ts";
import { makeSlots } from "../gpu/slots.ts";
import { type DecodedReport, stateBytes } from "../gpu/step.ts";
import { add } from "../kernels/add.ts";
import { attendMany } from "../kernels/attend_many.ts";
import { attendMerge } from "../kernels/attend_merge.ts";
import { attendOne } from "../kernels/attend_one.ts";
import { combine } from "../kernels/combine.ts";
import { copy } from "../kernels/copy.ts";
import { embed } from "../kernels/embed.ts";
import { expertDownMany } from "../kernels/expert_down_many.ts";
import { expertDownOne } from "../kernels/expert_down_one.ts";
import { expertUpMany } from "../kernels/expert_up_many.ts";
import { expertUpOne } from "../kernels/expert_up_one.ts";
import { guess } from "../kernels/guess.ts";
import { kvWrite } from "../kernels/kv_write.ts";
import { lastRow } from "../kernels/last_row.ts";
import { linearMany } from "../kernels/linear_many.ts";
import { linearOne } from "../kernels/linear_one.ts";
import { matrixValues } from "../kernels/matrix.ts";
import { resolve } from "../kernels/resolve.ts";
import { rmsNorm } from "../kernels/rms_norm.ts";
import { rope } from "../kernels/rope.ts";
import { routeMany } from "../kernels/route_many.ts";
import { routeOne } from "../kernels/route_one.ts";
import { mostTiles, routesLayout } from "../kernels/routes.ts";
import { sample } from "../kernels/sample.ts";
import { swiglu } from "../kernels/swiglu.ts";
import {
  type Bucket,
  type Cache,
  type Form,
  MAX_HEAD_WIDTH,
  type Mark,
  type MoeLayer,
  NONE,
  type Ops,
  type Plan,
  type RecordOptions,
  type Report,
  type Slots,
  type Speaker,
  type Taps,
  type Tensor,
  type Weight,
} from "./ops.ts";

/** Tokens that a workgroup of `attend_many` serves, positions that one of `attend_one` does. */
const QUERIES = 4;
const SPLIT = 256;
/** `route_*` and `resolve` have a lane for each. */
const MAX_EXPERTS = 256;

/** A speaker on the GPU. */
export interface GpuSpeaker extends Speaker {
  /** Names of the kernels that pipelines were made of. */
  readonly kernels: ReadonlySet<string>;
  /** Throws what has gone wrong on the device and was not thrown by a run: nothing, or a bug. */
  check(): Promise<void>;
}

interface GpuTensor extends Tensor {
  readonly memory: Memory;
}

interface GpuWeight extends Weight {
  readonly buffer: GPUBuffer;
}

interface GpuCache extends Cache {
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
}

type GpuSlots = Slots & ReturnType<typeof makeSlots>;

/** What all plans of a speaker share. */
interface Shared {
  readonly device: Device;
  readonly pipelines: Pipelines;
  /** What lives between two marks only. */
  readonly arena: Arena;
  readonly runner: Runner;
  /** By chunk of a segment, what outlives a stall. */
  lasting(chunk: number): Lasting;
  /** Called when slots lie in other buffers than before. */
  readonly rebinds: Set<() => void>;
  readonly lastingBytes: number;
  /** A buffer beside weights, caches, slots and arena. */
  extra(label: string, bytes: number, usage: GPUBufferUsageFlags): GPUBuffer;
}

interface Lasting {
  readonly arena: Arena;
  /** The routes of E experts, A per token: no part of the arena, since a later layer's `resolve` writes its own. */
  routes(experts: number, top: number): GPUBuffer;
}

const memoryOf = (x: Tensor): Memory => (x as GpuTensor).memory;
const bufferOf = (w: Weight): GPUBuffer => (w as GpuWeight).buffer;

/** A speaker on the adapter that `gpu` gives: `navigator.gpu` of a page or worker, or Dawn's in Node. Errors: no-webgpu, insecure-context. */
export async function gpuSpeaker(gpu: GPU | undefined = globalThis.navigator?.gpu): Promise<GpuSpeaker> {
  return speak(await requestDevice(gpu));
}

function speak(device: Device): GpuSpeaker {
  const held = { weights: 0, caches: 0, extra: 0 };
  const pools: GpuSlots[] = [];
  const shared = share(device, (bytes) => {
    held.extra += bytes;
  });
  const { queue } = device.gpu;
  const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;

  return {
    device: "gpu",
    description: device.description,
    lost: device.lost,
    get kernels() {
      return shared.pipelines.used;
    },

    async check() {
      await device.gpu.queue.onSubmittedWorkDone();
      await device.settled();
    },

    weight(matrix: Matrix): GpuWeight {
      const buffer = device.buffer(`a matrix of ${matrix.rows} rows`, matrix.end, storage);
      held.weights += buffer.size;
      return { matrix, buffer };
    },

    write(weight, offset, bytes) {
      queue.writeBuffer(bufferOf(weight), offset, bytes);
    },

    cache(ring, width, window): GpuCache {
      const make = (label: string) => device.buffer(label, 4 * ring * width, storage);
      const [keys, values] = [make("a cache of keys"), make("a cache of values")];
      held.caches += keys.size + values.size;
      return { ring, width, window, keys, values };
    },

    slots(count, bytes, layers, experts) {
      const slots = makeSlots(device, { count, bytes, layers, experts }, () => {
        for (const rebind of shared.rebinds) rebind();
      });
      pools.push(slots);
      return slots;
    },

    record(form, bucket, model, options = {}) {
      const recorder = new Recorder(shared, form, bucket, options);
      model(recorder);
      return makePlan(shared, recorder);
    },

    memory() {
      const { extra, ...beside } = held;
      const slots = pools.reduce((sum, { directory, pageBytes }) => sum + directory.size + pageBytes, 0);
      return { ...beside, slots, arena: shared.arena.bytes + shared.lastingBytes + shared.runner.bytes + extra };
    },

    close: () => device.close(),
  };
}

function share(device: Device, count: (bytes: number) => void): Shared {
  const extra = (label: string, bytes: number, usage: GPUBufferUsageFlags) => {
    const buffer = device.buffer(label, bytes, usage);
    count(buffer.size);
    return buffer;
  };
  const pipelines = new Pipelines(device);
  const chunks: Lasting[] = [];
  const lasting = (chunk: number): Lasting => {
    chunks[chunk] ??= makeLasting();
    return chunks[chunk];
  };
  const makeLasting = (): Lasting => {
    const known = new Map<string, GPUBuffer>();
    return {
      arena: new Arena(device),
      routes(experts, top) {
        const key = `${experts} ${top}`;
        const buffer = known.get(key) ?? extra("routes", 4 * routesLayout(experts, top).end, GPUBufferUsage.STORAGE);
        known.set(key, buffer);
        return buffer;
      },
    };
  };
  return {
    device,
    pipelines,
    arena: new Arena(device),
    runner: new Runner(device, pipelines),
    lasting,
    rebinds: new Set(),
    get lastingBytes() {
      return chunks.reduce((sum, { arena }) => sum + arena.bytes, 0);
    },
    extra,
  };
}

function makePlan({ device, pipelines, arena, lasting, rebinds, runner }: Shared, recorder: Recorder): Plan {
  const { form, bucket, chunk, layers, resolves, combines, sampleAt, kept, setWords, recording } = recorder;
  const dispatches = recording.link(device, pipelines, arena, lasting(chunk).arena);
  const used = stateBytes(setWords);
  let rows = 0;
  rebinds.add(() => {
    for (const dispatch of dispatches) dispatch.operands = dispatch.rebind?.() ?? dispatch.operands;
  });

  /** The sets of the layers that the step has routed by now; of the others, the words are an older step's. */
  const setsOf = ({ began, stall, sets }: DecodedReport, to: Mark) => {
    const isRouted = (index: number) => began && resolves[index]! <= to && (stall === NONE || index <= stall);
    const setOf = (index: number, at: number, experts: number) =>
      isRouted(index) ? sets(at, wordsOf(experts)) : new Uint32Array(wordsOf(experts));
    return {
      wanted: layers.map(({ experts, at }, index) => setOf(index, at, experts)),
      guesses: recorder.guesses
        .filter(({ from }) => isRouted(from))
        .map(({ layer, from, experts, at }) => ({ layer, from, experts: setOf(from, at, experts) })),
    };
  };

  return {
    form,
    bucket,
    begin: 0,
    end: dispatches.length,
    resumeAt: (layer) => defined(resolves[layer], `MoE layer ${layer}`),
    after: (layer) => defined(combines[layer], `MoE layer ${layer}`),

    async run(step, from, to): Promise<Report> {
      assert(step.count >= 1 && step.count <= bucket, `a step of ${step.count} tokens fits the bucket of ${bucket}`);
      rows = step.count;
      const found = await runner.run(dispatches, step, from, to, used);
      const { began, stall, token } = found;
      const passed = sampleAt !== null && from <= sampleAt && sampleAt < to;
      return {
        seq: step.seq,
        began,
        stall,
        pending: found.pending(
          began && stall !== NONE ? wordsOf(defined(layers[stall], `MoE layer ${stall}`).experts) : 0,
        ),
        ...setsOf(found, to),
        token,
        finite: found.finite || !(passed && began && stall === NONE && step.sample !== null),
      };
    },

    async taps() {
      const words = await runner.words(kept.map(({ buffer, width }) => ({ buffer, words: rows * width })));
      return new Map(
        kept.map(({ name, type }, index) => {
          const values = defined(words[index], `the words of ${name}`);
          return [name, type === "u32" ? values : new Float32Array(values.buffer)];
        }),
      );
    },
  };
}

interface Kept {
  readonly name: string;
  readonly buffer: GPUBuffer;
  readonly width: number;
  readonly type: "f32" | "u32";
}

/** Records what a model says. */
class Recorder implements Ops {
  readonly form: Form;
  readonly bucket: Bucket;
  readonly recording = new Recording();
  readonly layers: { readonly experts: number; readonly at: number }[] = [];
  readonly resolves: Mark[] = [];
  readonly combines: Mark[] = [];
  readonly kept: Kept[] = [];
  readonly guesses: { readonly layer: number; readonly from: number; readonly experts: number; readonly at: number }[] =
    [];
  readonly chunk: number;
  readonly ahead: number;
  sampleAt: Mark | null = null;
  /** Words of the report's sets so far. */
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
    assert(w.matrix.rows * w.matrix.columns === x.width, `a norm of ${w.matrix.columns} meets ${x.width} columns`);
    const y = this.like(x);
    const operands = { x: memoryOf(x), weight: bufferOf(w), y: memoryOf(y) };
    const constants = { last: last(x), width: x.width, offset: w.matrix.weight / 4, eps };
    this.recording.dispatch(rmsNorm, constants, operands, [1, this.rowsOf(x)]);
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

  attend(q: Tensor, k: Tensor, v: Tensor, cache: Cache, headWidth: number): Tensor {
    assert(headWidth % 8 === 0 && headWidth <= MAX_HEAD_WIDTH, `a head of ${headWidth} can be attended`);
    assert(q.rows === "tokens" && k.width === cache.width && v.width === cache.width, "keys and values fit the cache");
    const { ring, width, window, keys, values } = cache as GpuCache;
    const written = { k: memoryOf(k), v: memoryOf(v), keys, values };
    this.recording.dispatch(kvWrite, { width, ring }, written, this.grid(k, 1));
    const y = this.like(q);
    const heads = q.width / headWidth;
    const shape = { heads, head_width: headWidth, window: window ?? 0 };
    const kept = { ...shape, kv_heads: width / headWidth, ring };
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

  swiglu(gate: Tensor, up: Tensor): Tensor {
    const y = this.like(gate);
    const operands = { gate: memoryOf(gate), up: memoryOf(up), y: memoryOf(y) };
    this.recording.dispatch(swiglu, { last: last(gate), width: gate.width }, operands, this.grid(gate, 1));
    return y;
  }

  add(a: Tensor, b: Tensor): Tensor {
    const y = this.like(a);
    const operands = { a: memoryOf(a), b: memoryOf(b), y: memoryOf(y) };
    this.recording.dispatch(add, { last: last(a), width: a.width }, operands, this.grid(a, 1));
    return y;
  }

  moe(x: Tensor, router: Weight, layer: MoeLayer): Tensor {
    const { index, experts, top, slots } = layer;
    assert(index === this.layers.length, "MoE layers are counted from 0 in order");
    assert(x.rows === "tokens" && experts <= MAX_EXPERTS && top <= experts, "the router chooses among its experts");
    const logits = this.linear(x, router);
    const routes = this.shared.lasting(this.chunk).routes(experts, top);
    const counts = { experts, top };
    const at = this.takeSet(experts);
    const routing = { renormalise: Number(layer.renormalise), wanted: at, ...counts };
    const route = this.form === "one" ? routeOne : routeMany;
    this.recording.dispatch(route, routing, { logits: memoryOf(logits), routes }, [1, 1]);
    this.layers.push({ experts, at });

    this.recording.cut();
    this.resolves[index] = this.recording.mark;
    const { directory } = slots as GpuSlots;
    const resolving = { layer: index, layers: slots.layers, ...counts };
    this.recording.dispatch(resolve, resolving, { directory, routes }, [1, 1]);
    const rows = this.experts(x, layer, routes);

    // Taps come before `combine`, whose end is the layer's.
    if (this.taps !== "none") {
      const { chosen, weights } = routesLayout(experts, top);
      this.keep(`experts.${index}`, routes, top, "u32", chosen);
      this.keep(`expert_weights.${index}`, routes, top, "f32", weights);
    }
    this.tap(`router_logits.${index}`, logits);
    const y = this.like(x);
    const operands = { x: rows, routes, y: memoryOf(y) };
    this.recording.dispatch(combine, { width: x.width, ...counts }, operands, this.grid(x, 1));
    // What the experts read must be there after a stall too.
    this.recording.hold(memoryOf(x));
    this.recording.cut();
    this.combines[index] = this.recording.mark;
    return y;
  }

  guess(x: Tensor, router: Weight, { index, experts, top }: MoeLayer): void {
    assert(this.form === "one", "a guess is made for one token");
    const at = this.takeSet(experts);
    this.guesses.push({ layer: index, from: this.layers.length, experts, at });
    const operands = { logits: memoryOf(this.linear(x, router)) };
    this.recording.dispatch(guess, { experts, top, guessed: at }, operands, [1, 1]);
  }

  /** Where in the report a set of experts will lie. */
  private takeSet(experts: number): number {
    const at = this.setWords;
    this.setWords += wordsOf(experts);
    return at;
  }

  /** expert_up and expert_down of the pairs just resolved; returns their rows [T * A, D]. */
  private experts(x: Tensor, { experts, top, expert, slots }: MoeLayer, routes: GPUBuffer): Memory {
    const { w1, w3, w2 } = expert;
    assert(w1.columns === x.width && w2.rows === x.width && w1.rows === w2.columns, "the expert fits the model");
    const { page } = slots as GpuSlots;
    const bound = { page_0: page(0), page_1: page(1), page_2: page(2), page_3: page(3), routes };
    const pairs = this.bucket * top;
    const up = new Memory(4 * pairs * w1.rows);
    const rows = new Memory(4 * pairs * x.width);
    const upConstants = { experts, top, height: w1.rows, ...matrixValues("w1", w1), ...matrixValues("w3", w3) };
    const downConstants = { experts, top, height: x.width, ...matrixValues("w2", w2) };
    const { form, recording, bucket } = this;
    recording.outlasts(rows);
    const kernels =
      form === "one" ? ([expertUpOne, expertDownOne, 16] as const) : ([expertUpMany, expertDownMany, 32] as const);
    const [upward, downward, tile] = kernels;
    const many = form === "one" ? top : mostTiles(bucket, experts, top);
    const upOperands = { ...bound, x: memoryOf(x), up };
    recording.dispatch(upward, upConstants, upOperands, [Math.ceil(w1.rows / tile), many]);
    const downOperands = { ...bound, up, y: rows };
    recording.dispatch(downward, downConstants, downOperands, [Math.ceil(x.width / tile), many]);
    return rows;
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

  private keep(name: string, x: Operand, width: number, type: Kept["type"], offset: number): void {
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

  /** Workgroups of 64 lanes, each of which makes `each` numbers of a row. */
  private grid(x: Tensor, each: number): [x: number, y: number] {
    return [Math.ceil(x.width / each / 64), this.rowsOf(x)];
  }
}

/** The override of the kernels that work on a tensor. */
const last = (x: Tensor): number => Number(x.rows === "last");
