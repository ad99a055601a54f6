/** What the verbs of the GPU work on: buffers, and activations that have none yet. */
import type { Memory } from "../../gpu/recording.ts";
import type { Cache, History, Routes, Tensor, Weight } from "../ops.ts";

export interface GpuTensor extends Tensor {
  readonly memory: Memory;
}

export interface GpuWeight extends Weight {
  readonly buffer: GPUBuffer;
}

export interface GpuCache extends Cache {
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
}

export interface GpuHistory extends History {
  readonly rows: GPUBuffer;
}

export interface GpuRoutes extends Routes {
  /** See routes.wgsl. */
  readonly buffer: GPUBuffer;
}

export const memoryOf = (x: Tensor): Memory => (x as GpuTensor).memory;
export const bufferOf = (w: Weight): GPUBuffer => (w as GpuWeight).buffer;
