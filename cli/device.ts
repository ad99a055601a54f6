import { MixtabError } from "../src/base/errors.ts";
import { cpuSpeaker } from "../src/ops/cpu/speaker.ts";
import { gpuSpeaker } from "../src/ops/gpu/speaker.ts";
import type { Speaker } from "../src/ops/ops.ts";
import { dawn } from "./dawn.ts";

/**
 * Opens a speaker in Node. For "gpu" that is on the GPU, or on Chromium's software driver if there
 * is no GPU. Errors: no-webgpu.
 */
export async function openSpeaker(device: "cpu" | "gpu"): Promise<Speaker> {
  if (device === "cpu") return cpuSpeaker();
  const gpu = await dawn({ software: true });
  if (gpu) return await gpuSpeaker(gpu);
  throw new MixtabError(
    "no-webgpu",
    "There is no WebGPU adapter for Node. Install the optional npm package webgpu, libvulkan1, and a GPU driver or Chromium (its software driver is used).",
  );
}
