import { defined } from "../base/assert.ts";
import type { Device } from "./device.ts";

export type Access = "read" | "read_write";
export type ConstantType = "u32" | "f32" | "bool";
export type NumberType = "u32" | "f32";

/**
 * A shader and its interface, as data: the bindings of group 1 in order, the overrides, and the
 * numbers.
 */
export interface Kernel<B extends string = string, C extends string = string, N extends string = string> {
  /** The shader's stem. */
  readonly name: string;
  readonly source: string;
  /**
   * How the kernel uses the state in group 0: `read` binds it as a uniform, `read_write` as a
   * storage buffer.
   */
  readonly state: Access;
  readonly bindings: Readonly<Record<B, Access>>;
  /** Overrides: a pipeline is compiled for each set of their values. */
  readonly constants: Readonly<Record<C, ConstantType>>;
  /**
   * The members of the uniform struct `Numbers`, in its order. It is bound after `bindings`; a
   * dispatch has values of its own for them, and needs no pipeline of its own. Empty: no struct.
   */
  readonly numbers: Readonly<Record<N, NumberType>>;
}

/**
 * Defines a kernel. `source`: the texts that are joined into the shader, as [prelude, routes, its
 * own]. Every kernel also takes `last`, an override that the prelude declares. What does not change
 * the loops, as sizes and layer numbers, belongs to `numbers`: compiling takes a tenth of a second
 * or more for each pipeline.
 */
export function defineKernel<
  const B extends string,
  const C extends string = never,
  const N extends string = never,
>(definition: {
  readonly name: string;
  readonly source: readonly string[];
  readonly state?: Access;
  readonly bindings: Readonly<Record<B, Access>>;
  readonly constants?: Readonly<Record<C, ConstantType>>;
  readonly numbers?: Readonly<Record<N, NumberType>>;
}): Kernel<B, C | "last", N> {
  const { name, source, state = "read", bindings } = definition;
  const constants = { last: "bool", ...definition.constants } as Record<C | "last", ConstantType>;
  const numbers = { ...definition.numbers } as Record<N, NumberType>;
  return { name, source: source.join("\n"), state, bindings, constants, numbers };
}

/** The bytes of a kernel's `Numbers`, of the values that a dispatch gives. */
export function encodeNumbers({ numbers }: Kernel, given: Readonly<Record<string, number>>): ArrayBuffer {
  const words = new DataView(new ArrayBuffer(4 * Object.keys(numbers).length));
  for (const [index, [name, type]] of Object.entries(numbers).entries()) {
    const value = defined(given[name], name);
    if (type === "u32") words.setUint32(4 * index, value, true);
    else words.setFloat32(4 * index, value, true);
  }
  return words.buffer;
}

export const takesNumbers = ({ numbers }: Kernel): boolean => Object.keys(numbers).length > 0;

/** The pipelines of a device: one per kernel and constants, made on first use. */
export class Pipelines {
  /**
   * The layouts of group 0 (step, then state), for kernels that read the state and for those that
   * write it.
   */
  readonly stateLayouts: Readonly<Record<Access, GPUBindGroupLayout>>;

  private readonly device: Device;
  private readonly modules = new Map<Kernel, GPUShaderModule>();
  private readonly layouts = new Map<string, GPUBindGroupLayout>();
  private readonly pipelines = new Map<string, GPUComputePipeline>();

  constructor(device: Device) {
    this.device = device;
    const layout = (state: GPUBufferBindingType) =>
      device.gpu.createBindGroupLayout({
        entries: [
          { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: { type: "uniform" } },
          { binding: 1, visibility: GPUShaderStage.COMPUTE, buffer: { type: state } },
        ],
      });
    this.stateLayouts = { read: layout("uniform"), read_write: layout("storage") };
  }

  /** Names of the kernels for which pipelines were made. */
  get used(): ReadonlySet<string> {
    return new Set([...this.modules.keys()].map((kernel) => kernel.name));
  }

  /** `given` may name more than the kernel's constants. */
  get(kernel: Kernel, given: Readonly<Record<string, number>>): GPUComputePipeline {
    const constants = Object.fromEntries(Object.keys(kernel.constants).map((name) => [name, given[name] ?? 0]));
    const key = [kernel.name, ...Object.values(constants)].join(" ");
    const known = this.pipelines.get(key);
    if (known) return known;
    const { gpu } = this.device;
    const pipeline = gpu.createComputePipeline({
      label: kernel.name,
      layout: gpu.createPipelineLayout({ bindGroupLayouts: [this.stateLayouts[kernel.state], this.layout(kernel)] }),
      compute: { module: this.module(kernel), entryPoint: "main", constants },
    });
    this.pipelines.set(key, pipeline);
    return pipeline;
  }

  /** The layout of a kernel's group 1. */
  layout(kernel: Kernel): GPUBindGroupLayout {
    const types = Object.values(kernel.bindings).map((access) => (access === "read" ? "read-only-storage" : "storage"));
    const all: GPUBufferBindingType[] = takesNumbers(kernel) ? [...types, "uniform"] : types;
    const key = all.join(" ");
    const known = this.layouts.get(key);
    if (known) return known;
    const layout = this.device.gpu.createBindGroupLayout({
      entries: all.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } })),
    });
    this.layouts.set(key, layout);
    return layout;
  }

  private module(kernel: Kernel): GPUShaderModule {
    const known = this.modules.get(kernel);
    if (known) return known;
    const module = this.device.gpu.createShaderModule({ label: kernel.name, code: kernel.source });
    this.device.check(module.getCompilationInfo().then((info) => throwCompileErrors(kernel, info)));
    this.modules.set(kernel, module);
    return module;
  }
}

/** Throws the compiler's errors, each with the source line that it points to. */
function throwCompileErrors({ name, source }: Kernel, { messages }: GPUCompilationInfo): void {
  const errors = messages.filter(({ type }) => type === "error");
  if (errors.length === 0) return;
  const lines = source.split("\n");
  const shown = errors.map(({ lineNum, linePos, message }) => {
    const line = lineNum > 0 ? defined(lines[lineNum - 1], `line ${lineNum}`) : "";
    return `${name}.wgsl with its preludes, ${lineNum}:${linePos}: ${message}\n  ${line}\n  ${" ".repeat(Math.max(0, linePos - 1))}^`;
  });
  throw new Error(shown.join("\n"));
}
