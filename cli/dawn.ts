import { existsSync } from "node:fs";
import { join } from "node:path";

/** Where packages of Chromium put the description of its software Vulkan driver, SwiftShader. */
const SOFTWARE_DRIVERS = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"].map((folder) =>
  join(folder, "vk_swiftshader_icd.json"),
);

/**
 * Keeps Dawn's instances alive: they must outlive their devices, which hold no reference to them.
 */
const instances: GPU[] = [];

/**
 * WebGPU in Node, from npm's optional package `webgpu` (Dawn). undefined: the package is not
 * installed, or finds no adapter. `software`: SwiftShader counts as an adapter too.
 */
export async function dawn({ software }: { readonly software: boolean }): Promise<GPU | undefined> {
  let module: typeof import("webgpu");
  try {
    module = await import("webgpu");
  } catch {
    return undefined;
  }
  Object.assign(globalThis, module.globals);
  const drivers = [undefined, ...(software ? SOFTWARE_DRIVERS.filter((path) => existsSync(path)) : [])];
  for (const driver of drivers) {
    if (driver !== undefined) process.env.VK_ICD_FILENAMES = driver;
    const gpu = module.create([]);
    instances.push(gpu);
    if (await gpu.requestAdapter()) return gpu;
  }
  return undefined;
}
