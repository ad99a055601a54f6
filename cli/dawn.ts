import { existsSync } from "node:fs";
import { join } from "node:path";

/** Where Chromium's packages keep the software Vulkan driver (SwiftShader). */
const SOFTWARE_DRIVERS = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"].map((folder) =>
  join(folder, "vk_swiftshader_icd.json"),
);

/** Dawn's instances must outlive their devices, which do not keep them. */
const instances: GPU[] = [];

/** WebGPU in Node by npm's optional `webgpu` (Dawn); undefined where it is not installed or finds no adapter. `software`: also on SwiftShader. */
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
