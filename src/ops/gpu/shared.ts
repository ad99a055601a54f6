import { Arena } from "../../gpu/arena.ts";
import type { Device } from "../../gpu/device.ts";
import { Pipelines } from "../../gpu/kernel.ts";
import { Numbers } from "../../gpu/numbers.ts";
import { Runner } from "../../gpu/runner.ts";
import { routesLayout } from "../../kernels/routes.ts";

/** What all plans of a speaker share. */
export interface Shared {
  readonly device: Device;
  readonly pipelines: Pipelines;
  readonly numbers: Numbers;
  /** The memory of activations that live between two cuts only. */
  readonly arena: Arena;
  readonly runner: Runner;
  /** The memory that must outlive a stall, by chunk of a segment. */
  lasting(chunk: number): Lasting;
  /** To be called when the slots lie in other buffers than before. */
  readonly rebinds: Set<() => void>;
  readonly lastingBytes: number;
  /** Makes a buffer for anything but weights, caches, slots and arena: for routes and taps. */
  extra(label: string, bytes: number, usage: GPUBufferUsageFlags): GPUBuffer;
}

export interface Lasting {
  readonly arena: Arena;
  /**
   * The buffer for the routes of E experts, A per token. It must not come from the arena: while one
   * layer stalls, the `resolve` of later layers still runs and writes to their routes.
   */
  routes(experts: number, top: number): GPUBuffer;
}

/** `count` is told the bytes of every buffer that `extra` makes. */
export function share(device: Device, count: (bytes: number) => void): Shared {
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
    numbers: new Numbers(device),
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
