/**
 * The speaker that is fast: each verb records the kernel of its name. What a plan's dispatches read and write is in the shaders; what
 * they mean is in `cpu.ts`.
 */
import { assert, defined } from "../base/assert.ts";
import { wordsOf } from "../base/bits.ts";
import { MixtabError } from "../base/errors.ts";
import type { Matrix } from "../base/matrix.ts";
import { Arena } from "../gpu/arena.ts";
import { type Device, requestDevice } from "../gpu/device.ts";
import { type Access, Pipelines } from "../gpu/kernel.ts";
import { type Dispatch, Memory, type Operand, Recording, replay } from "../gpu/plan.ts";
import {
  decodeReport,
  encodeStep,
  REPORT_BYTES,
  REPORT_STATE_AT,
  STATE_BYTES,
  STEP_BYTES,
  stateBytes,
} from "../gpu/step.ts";
import { add } from "../kernels/add.ts";
import { attend } from "../kernels/attend.ts";
import { combine } from "../kernels/combine.ts";
import { copy } from "../kernels/copy.ts";
import { embed } from "../kernels/embed.ts";
import { expertDownMany } from "../kernels/expert_down_many.ts";
import { expertDownOne } from "../kernels/expert_down_one.ts";
import { expertUpMany } from "../kernels/expert_up_many.ts";
import { expertUpOne } from "../kernels/expert_up_one.ts";
import { kvWrite } from "../kernels/kv_write.ts";
import { lastRow } from "../kernels/last_row.ts";
import { linearMany } from "../kernels/linear_many.ts";
import { linearOne } from "../kernels/linear_one.ts";
import { matrixValues } from "../kernels/matrix.ts";
import { resolve } from "../kernels/resolve.ts";
import { rmsNorm } from "../kernels/rms_norm.ts";
import { rope } from "../kernels/rope.ts";
import { route } from "../kernels/route.ts";
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
  type Report,
  type Slots,
  type Speaker,
  type Step,
  type Taps,
  type Tensor,
  type Weight,
} from "./ops.ts";

/** More than this the expert kernels cannot bind. */
const MAX_PAGES = 4;
/** `route` and `resolve` have a lane for each. */
const MAX_EXPERTS = 256;

/** A speaker on the GPU. */
export interface GpuSpeaker extends Speaker {
  /** Names of the kernels that pipelines were made of. */
  readonly kernels: ReadonlySet<string>;
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

interface GpuSlots extends Slots {
  readonly pages: readonly GPUBuffer[];
  /** See `resolve.wgsl`. */
  readonly directory: GPUBuffer;
}

/** What all plans of a speaker share. */
interface Shared {
  readonly device: Device;
  readonly pipelines: Pipelines;
  readonly arena: Arena;
  readonly step: GPUBuffer;
  readonly state: GPUBuffer;
  /** Step and state, as group 0. */
  readonly groups: Readonly<Record<Access, GPUBindGroup>>;
  /** Readbacks not in use. */
  readonly readbacks: GPUBuffer[];
  /** The routes of E experts, A per token. They outlive a stall, so they are no part of the arena: a later layer's `resolve` writes its own. */
  routes(experts: number, top: number): GPUBuffer;
  /** Buffers beside weights, caches, slots and arena. */
  extra(label: string, bytes: number, usage: GPUBufferUsageFlags): GPUBuffer;
  /** Submissions without a report yet. */
  inFlight: number;
}

const memoryOf = (x: Tensor): Memory => (x as GpuTensor).memory;
const bufferOf = (w: Weight): GPUBuffer => (w as GpuWeight).buffer;

/** A speaker on the adapter that `gpu` gives: `navigator.gpu` of a page or worker, or Dawn's in Node. Errors: no-webgpu, insecure-context. */
export async function gpuSpeaker(gpu: GPU | undefined = globalThis.navigator?.gpu): Promise<GpuSpeaker> {
  return speak(await requestDevice(gpu));
}

function speak(device: Device): GpuSpeaker {
  const held = { weights: 0, caches: 0, slots: 0, extra: 0 };
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
      const slots = makeSlots(device, count, bytes, layers, experts);
      held.slots += slots.directory.size + slots.pages.reduce((sum, { size }) => sum + size, 0);
      return slots;
    },

    record(form, bucket, model, taps = "none") {
      const recorder = new Recorder(shared, form, bucket, taps);
      model(recorder);
      return makePlan(shared, recorder);
    },

    memory() {
      const { weights, caches, slots, extra } = held;
      return { weights, caches, slots, arena: shared.arena.bytes + extra };
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
  const { UNIFORM, STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
  const step = extra("step", STEP_BYTES, UNIFORM | COPY_DST);
  const state = extra("state", STATE_BYTES, UNIFORM | STORAGE | COPY_DST | COPY_SRC);
  const pipelines = new Pipelines(device);
  const group = (access: Access) =>
    device.gpu.createBindGroup({
      label: "step and state",
      layout: pipelines.stateLayouts[access],
      entries: [step, state].map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
  const routes = new Map<string, GPUBuffer>();
  return {
    device,
    pipelines,
    arena: new Arena(device),
    step,
    state,
    groups: { read: group("read"), read_write: group("read_write") },
    readbacks: [],
    routes(experts, top) {
      const key = `${experts} ${top}`;
      const buffer = routes.get(key) ?? extra("routes", 4 * routesLayout(experts, top).end, STORAGE);
      routes.set(key, buffer);
      return buffer;
    },
    extra,
    inFlight: 0,
  };
}

function makeSlots(device: Device, count: number, bytes: number, layers: number, experts: number): GpuSlots {
  const perPage = Math.floor(device.maxBufferBytes / bytes);
  if (perPage * MAX_PAGES < count)
    throw new MixtabError(
      "out-of-memory",
      `This GPU takes at most ${perPage * MAX_PAGES} experts of ${bytes} bytes, and ${count} were asked for. Choose a smaller budget.`,
    );
  const pageCount = Math.max(1, Math.ceil(count / perPage));
  const slotsPerPage = Math.ceil(count / pageCount);
  const { queue } = device.gpu;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
  const pages = Array.from({ length: pageCount }, (_, page) =>
    device.buffer("experts", Math.min(slotsPerPage, count - page * slotsPerPage) * bytes, usage),
  );
  const head = new Uint32Array([count, slotsPerPage, bytes / 4, 0]);
  const ownersAt = head.length + layers * experts;
  const directory = device.buffer("where experts lie", 4 * (ownersAt + count), usage);
  const words = new Uint32Array(ownersAt + count).fill(NONE);
  words.set(head);
  queue.writeBuffer(directory, 0, words);
  const put = (word: number, value: number) => queue.writeBuffer(directory, 4 * word, new Uint32Array([value]));
  return {
    count,
    bytes,
    layers,
    experts,
    pages,
    directory,
    write(slot, record) {
      assert(slot < count && record.length <= bytes, "a record fits its slot");
      const page = defined(pages[Math.floor(slot / slotsPerPage)], "the slot's page");
      queue.writeBuffer(page, (slot % slotsPerPage) * bytes, record);
    },
    own: (slot, owner) => put(ownersAt + slot, owner),
    map: (layer, expert, slot) => put(head.length + layer * experts + expert, slot),
  };
}

function makePlan(shared: Shared, recorder: Recorder): Plan {
  const { form, bucket, layers, resolves, combines, sampleAt, kept, wantedWords, recording } = recorder;
  const { device, step: stepBuffer, state, readbacks } = shared;
  const { gpu } = device;
  const dispatches: readonly Dispatch[] = recording.link(device, shared.pipelines, shared.arena);
  const used = stateBytes(wantedWords);
  const numbers = new ArrayBuffer(STEP_BYTES);
  const clear = new Uint32Array([NONE]);
  let rows = 0;

  const readback = () =>
    readbacks.pop() ?? shared.extra("report", REPORT_BYTES, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);

  /** The sets of layers that this step has routed by now. */
  const wantedOf = (report: ReturnType<typeof decodeReport>, to: Mark, began: boolean) =>
    layers.map(({ experts, at }, index) => {
      const size = wordsOf(experts);
      const routed = began && resolves[index]! <= to && (report.stall === NONE || index <= report.stall);
      return routed ? report.wanted(at, size) : new Uint32Array(size);
    });

  return {
    form,
    bucket,
    begin: 0,
    end: dispatches.length,
    resumeAt: (layer) => defined(resolves[layer], `MoE layer ${layer}`),
    after: (layer) => defined(combines[layer], `MoE layer ${layer}`),

    async run(step, from, to): Promise<Report> {
      assert(step.count >= 1 && step.count <= bucket, `a step of ${step.count} tokens fits the bucket of ${bucket}`);
      device.throwFaults();
      rows = step.count;
      gpu.queue.writeBuffer(stepBuffer, 0, numbers, 0, encodeStep(step, numbers));
      // A step that is queued behind another must see it stall.
      if (shared.inFlight === 0) gpu.queue.writeBuffer(state, 0, clear);
      const report = readback();
      const encoder = gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(state, 0, report, 0, 4);
      const pass = encoder.beginComputePass();
      replay(pass, dispatches, shared.groups, from, to);
      pass.end();
      encoder.copyBufferToBuffer(state, 0, report, REPORT_STATE_AT, used);
      gpu.queue.submit([encoder.finish()]);

      const words = await read(shared, report, REPORT_STATE_AT + used);
      readbacks.push(report);
      const found = decodeReport(words);
      const began = found.before === NONE;
      const { stall } = found;
      const sampled =
        began && stall === NONE && step.sample !== null && sampleAt !== null && from <= sampleAt && sampleAt < to;
      return {
        seq: step.seq,
        began,
        stall,
        pending: stall === NONE ? new Uint32Array(0) : found.pending(wordsOf(layers[stall]?.experts ?? 0)),
        wanted: wantedOf(found, to, began),
        token: found.token,
        finite: !sampled || found.finite,
      };
    },

    async taps() {
      const bytes = kept.map(({ width }) => 4 * rows * width);
      const ends = bytes.reduce<number[]>((sums, size) => [...sums, (sums.at(-1) ?? 0) + size], []);
      const total = ends.at(-1);
      if (total === undefined) return new Map();
      const target = gpu.createBuffer({ size: total, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
      const encoder = gpu.createCommandEncoder();
      kept.forEach(({ buffer }, index) => {
        encoder.copyBufferToBuffer(buffer, 0, target, ends[index]! - bytes[index]!, bytes[index]!);
      });
      gpu.queue.submit([encoder.finish()]);
      const words = await read(shared, target, total);
      target.destroy();
      return new Map(
        kept.map(({ name, type }, index) => {
          const part = words.slice((ends[index]! - bytes[index]!) / 4, ends[index]! / 4);
          return [name, type === "u32" ? part : new Float32Array(part.buffer)];
        }),
      );
    },
  };
}

/** Maps a buffer and copies its words; throws what went wrong on the device meanwhile. */
async function read(shared: Shared, buffer: GPUBuffer, bytes: number): Promise<Uint32Array<ArrayBuffer>> {
  shared.inFlight++;
  try {
    await buffer.mapAsync(GPUMapMode.READ, 0, bytes);
  } catch (error) {
    // A lost device refuses to map before it says that it is lost.
    await Promise.race([shared.device.lost, new Promise((resolve) => setTimeout(resolve, 100))]);
    await shared.device.settled();
    throw error;
  } finally {
    shared.inFlight--;
  }
  const words = new Uint32Array(buffer.getMappedRange(0, bytes).slice(0));
  buffer.unmap();
  await shared.device.settled();
  return words;
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
  sampleAt: Mark | null = null;
  wantedWords = 0;

  private readonly shared: Shared;
  private readonly taps: Taps;

  constructor(shared: Shared, form: Form, bucket: Bucket, taps: Taps) {
    this.shared = shared;
    this.form = form;
    this.bucket = bucket;
    this.taps = taps;
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
    const constants = { heads, kv_heads: width / headWidth, head_width: headWidth, ring, window: window ?? 0 };
    const operands = { q: memoryOf(q), keys, values, y: memoryOf(y) };
    this.recording.dispatch(attend, constants, operands, [heads, this.bucket]);
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
    const routes = this.shared.routes(experts, top);
    const counts = { experts, top };
    const routing = { renormalise: Number(layer.renormalise), wanted: this.wantedWords, ...counts };
    this.recording.dispatch(route, routing, { logits: memoryOf(logits), routes }, [1, 1]);
    this.layers.push({ experts, at: this.wantedWords });
    this.wantedWords += wordsOf(experts);

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
    this.combines[index] = this.recording.mark;
    return y;
  }

  /** expert_up and expert_down of the pairs just resolved; returns their rows [T * A, D]. */
  private experts(x: Tensor, { experts, top, expert, slots }: MoeLayer, routes: GPUBuffer): Memory {
    const { w1, w3, w2 } = expert;
    assert(w1.columns === x.width && w2.rows === x.width && w1.rows === w2.columns, "the expert fits the model");
    const { pages } = slots as GpuSlots;
    const page = (index: number) => defined(pages[index] ?? pages[0], "a page");
    const bound = { page_0: page(0), page_1: page(1), page_2: page(2), page_3: page(3), routes };
    const pairs = this.bucket * top;
    const up = new Memory(4 * pairs * w1.rows);
    const rows = new Memory(4 * pairs * x.width);
    const upConstants = { experts, top, height: w1.rows, ...matrixValues("w1", w1), ...matrixValues("w3", w3) };
    const downConstants = { experts, top, height: x.width, ...matrixValues("w2", w2) };
    const { form, recording, bucket } = this;
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
