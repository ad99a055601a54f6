import { MixtabError } from "../base/errors.ts";

/** A GPU device that keeps track of its buffers, its errors and its loss. */
export class Device {
  readonly gpu: GPUDevice;
  /** For people: how the adapter describes itself. */
  readonly description: string;
  /** Settles with the reason when the device is lost; never after `close`. */
  readonly lost: Promise<string>;

  private readonly faults: Error[] = [];
  private readonly checks: Promise<unknown>[] = [];
  private readonly buffers = new Set<GPUBuffer>();
  private lostBecause: string | null = null;
  private closed = false;

  constructor(gpu: GPUDevice, description: string) {
    this.gpu = gpu;
    this.description = description;
    this.lost = new Promise((resolve) => {
      gpu.lost.then(({ message, reason }) => {
        if (this.closed) return;
        this.lostBecause = message || reason || "unknown";
        resolve(this.lostBecause);
      });
    });
    gpu.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      this.faults.push(asError(event.error));
    });
  }

  /** The most bytes one storage buffer may have. */
  get maxBufferBytes(): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.gpu.limits;
    return Math.min(maxBufferSize, maxStorageBufferBindingSize, 2 ** 32 - 4);
  }

  /**
   * Makes a zeroed buffer. Errors: out-of-memory, thrown here if the size is beyond the device's
   * limits, else by the next `settled`.
   */
  buffer(label: string, bytes: number, usage: GPUBufferUsageFlags): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 4) * 4);
    if (size > this.maxBufferBytes)
      throw new MixtabError(
        "out-of-memory",
        `${label} needs a GPU buffer of ${megabytes(size)}, and this GPU takes ${megabytes(this.maxBufferBytes)} at most. Choose a smaller model or a shorter context.`,
      );
    this.gpu.pushErrorScope("out-of-memory");
    const buffer = this.gpu.createBuffer({ label, size, usage });
    this.expectNone((error) => outOfMemory(label, size, error));
    this.buffers.add(buffer);
    return buffer;
  }

  /**
   * As `buffer`, but waits until the GPU has confirmed the allocation. Errors: out-of-memory, after
   * which no buffer is left behind.
   */
  async verifiedBuffer(label: string, bytes: number, usage: GPUBufferUsageFlags): Promise<GPUBuffer> {
    this.gpu.pushErrorScope("out-of-memory");
    const buffer = this.gpu.createBuffer({ label, size: bytes, usage });
    const error = await this.gpu.popErrorScope();
    if (error) {
      buffer.destroy();
      throw outOfMemory(label, bytes, error);
    }
    this.buffers.add(buffer);
    return buffer;
  }

  /** Frees a buffer as soon as the work that was submitted with it is done. */
  release(buffer: GPUBuffer): void {
    this.buffers.delete(buffer);
    buffer.destroy();
  }

  /**
   * Makes `settled` wait for `work`. If `work` rejects, `settled` throws its error before those
   * that follow from it.
   */
  check(work: Promise<unknown>): void {
    this.checks.push(work.catch((error) => this.faults.unshift(asError(error))));
  }

  /**
   * Waits for pending checks, then throws what has gone wrong since the last time. Errors:
   * device-lost, out-of-memory.
   */
  async settled(): Promise<void> {
    if (this.checks.length > 0) await Promise.all(this.checks.splice(0));
    this.throwFaults();
  }

  /** Throws what has gone wrong since the last time. */
  throwFaults(): void {
    if (this.closed) throw new MixtabError("closed", "The engine was closed.");
    if (this.lostBecause !== null)
      throw new MixtabError(
        "device-lost",
        `The GPU device was lost (${this.lostBecause}). Load the model again; a smaller budget helps if memory ran out.`,
      );
    const [first] = this.faults.splice(0);
    if (first) throw first;
  }

  close(): void {
    this.closed = true;
    for (const buffer of this.buffers) buffer.destroy();
    this.gpu.destroy();
  }

  private expectNone(name: (error: GPUError) => Error): void {
    this.check(
      this.gpu.popErrorScope().then((error) => {
        if (error) throw name(error);
      }),
    );
  }
}

/**
 * Asks for a device with the adapter's limits and no optional feature. Errors: no-webgpu,
 * insecure-context.
 */
export async function requestDevice(gpu: GPU | undefined): Promise<Device> {
  if (!gpu && globalThis.isSecureContext === false)
    throw new MixtabError("insecure-context", "WebGPU needs a secure page: serve it from https or from localhost.");
  const adapter = await gpu?.requestAdapter();
  if (!adapter)
    throw new MixtabError(
      "no-webgpu",
      gpu
        ? "WebGPU is here, but it found no graphics adapter. Update the graphics driver or turn hardware acceleration on."
        : "This browser has no WebGPU. Use a current Chrome, Edge, Safari or Firefox.",
    );
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({ requiredLimits: { maxBufferSize, maxStorageBufferBindingSize } });
  const { vendor, architecture, device: name, description } = adapter.info;
  const words = [vendor, architecture, name, description].filter((word) => word !== "");
  return new Device(device, words.join(" ") || "WebGPU");
}

function outOfMemory(label: string, bytes: number, cause: GPUError): MixtabError {
  return new MixtabError(
    "out-of-memory",
    `The GPU has no room for ${label} (${megabytes(bytes)}). Choose a smaller budget, a shorter context or a smaller model.`,
    cause,
  );
}

const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;

/** A GPUError is not an instance of Error; its message is put into one. */
const asError = (error: unknown): Error =>
  error instanceof Error ? error : new Error((error as GPUError | undefined)?.message ?? String(error));
