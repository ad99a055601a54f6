import { Arena } from "../../gpu/arena.ts";
import type { Device } from "../../gpu/device.ts";
import { Pipelines } from "../../gpu/kernel.ts";
import { Runner } from "../../gpu/runner.ts";
import { routesLayout } from "../../kernels/routes.ts";

/** What all plans of a speaker share. */
export interface Shared {
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

export interface Lasting {
  readonly arena: Arena;
  /**
   * The routes of E experts, A per token: no part of the arena, since a later layer's `resolve`
   * writes its own.
   */
  routes(experts: number, top: number): GPUBuffer;
}

/** `count`: told of bytes beside weights, caches, slots and arena. */
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
