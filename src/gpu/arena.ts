import { defined } from "../base/assert.ts";
import type { Device } from "./device.ts";

/**
 * The memory of activations, shared by all plans, since no two plans run at once. Each activation
 * gets a whole buffer, because WebGPU does not let one dispatch read one slice of a buffer and
 * write another.
 */
export class Arena {
  private readonly device: Device;
  private readonly buffers: GPUBuffer[] = [];

  constructor(device: Device) {
    this.device = device;
  }

  get bytes(): number {
    return this.buffers.reduce((sum, { size }) => sum + size, 0);
  }

  /** Opens the arena for one plan, to which all buffers are free at first. */
  lease(): { take(bytes: number): GPUBuffer; give(buffer: GPUBuffer): void } {
    const free = new Set(this.buffers);
    return {
      take: (bytes) => {
        const fitting = [...free].filter(({ size }) => size >= bytes).sort((a, b) => a.size - b.size);
        const buffer = fitting.length > 0 ? defined(fitting[0], "the smallest") : this.grow(bytes);
        free.delete(buffer);
        return buffer;
      },
      give: (buffer) => free.add(buffer),
    };
  }

  private grow(bytes: number): GPUBuffer {
    const buffer = this.device.buffer("activations", bytes, GPUBufferUsage.STORAGE);
    this.buffers.push(buffer);
    return buffer;
  }
}
