import { type Device, requestDevice } from "../../gpu/device.ts";
import type { Speaker } from "../ops.ts";
import { makePlan } from "./plan.ts";
import { share } from "./shared.ts";
import { type GpuSlots, makeSlots } from "./slots.ts";
import { bufferOf, type GpuCache, type GpuHistory, type GpuWeight } from "./tensors.ts";
import { GpuRecorder } from "./verbs.ts";

/** A speaker on the GPU. */
export interface GpuSpeaker extends Speaker {
  /** Names of the kernels for which pipelines were made. */
  readonly kernels: ReadonlySet<string>;
  /**
   * Waits for the GPU, then throws an error of the device that no run has thrown. There should be
   * none: any is a bug.
   */
  check(): Promise<void>;
}

/**
 * A speaker on the adapter that `gpu` gives: `navigator.gpu` of a page or worker, or Dawn's in
 * Node. Errors: no-webgpu, insecure-context.
 */
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

    weight(matrix): GpuWeight {
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

    history(ring, width, window): GpuHistory {
      const rows = device.buffer("a history of rows", 4 * ring * width, storage);
      held.caches += rows.size;
      return { ring, width, window, rows };
    },

    slots(count, bytes, experts) {
      const slots = makeSlots(device, { count, bytes, experts }, () => {
        for (const rebind of shared.rebinds) rebind();
      });
      pools.push(slots);
      return slots;
    },

    record(form, bucket, model, options = {}) {
      const recorder = new GpuRecorder(shared, form, bucket, options);
      model(recorder);
      return makePlan(shared, recorder);
    },

    memory() {
      const { extra, ...beside } = held;
      const slots = pools.reduce((sum, { directory, pageBytes }) => sum + directory.size + pageBytes, 0);
      return {
        ...beside,
        slots,
        arena: shared.arena.bytes + shared.lastingBytes + shared.runner.bytes + shared.numbers.bytes + extra,
      };
    },

    close: () => device.close(),
  };
}
