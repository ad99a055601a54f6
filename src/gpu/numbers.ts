import type { Device } from "./device.ts";

/** Where a dispatch's numbers lie. */
export interface NumbersPlace {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/** Uniform bindings begin at multiples of this (WebGPU's default limit). */
const STEP_BYTES = 256;
const BUFFER_BYTES = 256 * STEP_BYTES;

/** The numbers that dispatches are given, in uniform buffers; equal ones are kept once. */
export class Numbers {
  private readonly device: Device;
  private readonly places = new Map<string, NumbersPlace>();
  private readonly buffers: GPUBuffer[] = [];

  constructor(device: Device) {
    this.device = device;
  }

  get bytes(): number {
    return this.buffers.length * BUFFER_BYTES;
  }

  place(numbers: ArrayBuffer): NumbersPlace {
    const key = new Uint32Array(numbers).join(" ");
    const known = this.places.get(key);
    if (known) return known;
    const offset = (this.places.size * STEP_BYTES) % BUFFER_BYTES;
    if (offset === 0)
      this.buffers.push(this.device.buffer("numbers", BUFFER_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST));
    const place = { buffer: this.buffers.at(-1)!, offset, size: numbers.byteLength };
    this.device.gpu.queue.writeBuffer(place.buffer, offset, numbers);
    this.places.set(key, place);
    return place;
  }
}
