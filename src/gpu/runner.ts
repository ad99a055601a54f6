import type { Device } from "./device.ts";
import type { Access, Pipelines } from "./kernel.ts";
import { type Dispatch, replay } from "./recording.ts";
import {
  decodeReport,
  encodeStep,
  REPORT_BYTES,
  REPORT_STATE_AT,
  STATE_BYTES,
  STEP_BYTES,
  type StepNumbers,
} from "./state_words.ts";

const NO_STALL = new Uint32Array([0xffffffff]);

/**
 * Submits the dispatches that plans recorded, and reads their reports. Holds the step and the
 * state, which all plans share.
 */
export class Runner {
  private readonly device: Device;
  private readonly step: GPUBuffer;
  private readonly state: GPUBuffer;
  private readonly groups: Readonly<Record<Access, GPUBindGroup>>;
  private readonly numbers = new ArrayBuffer(STEP_BYTES);
  /** Readback buffers that are not in use. */
  private readonly free: GPUBuffer[] = [];
  private readbacks = 0;
  /** How many submissions have not reported yet. */
  private inFlight = 0;

  constructor(device: Device, pipelines: Pipelines) {
    const { UNIFORM, STORAGE, COPY_DST, COPY_SRC } = GPUBufferUsage;
    this.device = device;
    this.step = device.buffer("step", STEP_BYTES, UNIFORM | COPY_DST);
    this.state = device.buffer("state", STATE_BYTES, UNIFORM | STORAGE | COPY_DST | COPY_SRC);
    const group = (access: Access) =>
      device.gpu.createBindGroup({
        label: "step and state",
        layout: pipelines.stateLayouts[access],
        entries: [this.step, this.state].map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
    this.groups = { read: group("read"), read_write: group("read_write") };
  }

  get bytes(): number {
    return STEP_BYTES + STATE_BYTES + this.readbacks * REPORT_BYTES;
  }

  /**
   * Runs dispatches from one mark to another as one submission, and reads `stateBytes` of the
   * state. The stall word is cleared first, unless another submission is in flight: a step that is
   * queued behind a stalled one must find the stall and do nothing. Errors: device-lost,
   * out-of-memory, closed.
   */
  async run(dispatches: readonly Dispatch[], step: StepNumbers, from: number, to: number, stateBytes: number) {
    this.device.throwFaults();
    const { gpu } = this.device;
    gpu.queue.writeBuffer(this.step, 0, this.numbers, 0, encodeStep(step, this.numbers));
    if (this.inFlight === 0) gpu.queue.writeBuffer(this.state, 0, NO_STALL);
    const report = this.free.pop() ?? this.readback();
    const encoder = gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(this.state, 0, report, 0, 4);
    const pass = encoder.beginComputePass();
    replay(pass, dispatches, this.groups, from, to);
    pass.end();
    encoder.copyBufferToBuffer(this.state, 0, report, REPORT_STATE_AT, stateBytes);
    gpu.queue.submit([encoder.finish()]);
    this.inFlight++;
    try {
      return decodeReport(await this.read(report, REPORT_STATE_AT + stateBytes));
    } finally {
      this.inFlight--;
      this.free.push(report);
    }
  }

  /** Reads the first `words` words of each buffer. */
  async words(parts: readonly { readonly buffer: GPUBuffer; readonly words: number }[]) {
    if (parts.length === 0) return [];
    const { gpu } = this.device;
    const size = parts.reduce((sum, { words }) => sum + 4 * words, 0);
    const target = gpu.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = gpu.createCommandEncoder();
    let at = 0;
    const places = parts.map(({ buffer, words }) => {
      encoder.copyBufferToBuffer(buffer, 0, target, at, 4 * words);
      at += 4 * words;
      return { begin: at / 4 - words, end: at / 4 };
    });
    gpu.queue.submit([encoder.finish()]);
    const all = await this.read(target, size);
    target.destroy();
    return places.map(({ begin, end }) => all.slice(begin, end));
  }

  private readback(): GPUBuffer {
    this.readbacks++;
    return this.device.buffer("report", REPORT_BYTES, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  }

  /** Maps a buffer and copies its words; throws what went wrong on the device meanwhile. */
  private async read(buffer: GPUBuffer, bytes: number): Promise<Uint32Array<ArrayBuffer>> {
    try {
      await buffer.mapAsync(GPUMapMode.READ, 0, bytes);
    } catch (error) {
      // A lost device rejects `mapAsync` before its `lost` promise settles.
      await Promise.race([this.device.lost, new Promise((resolve) => setTimeout(resolve, LOST_AFTER_MS))]);
      await this.device.settled();
      throw error;
    }
    const words = new Uint32Array(buffer.getMappedRange(0, bytes).slice(0));
    buffer.unmap();
    await this.device.settled();
    return words;
  }
}

const LOST_AFTER_MS = 100;
