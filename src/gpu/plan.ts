import { assert, defined } from "../base/assert.ts";
import type { Arena } from "./arena.ts";
import type { Device } from "./device.ts";
import type { Access, Kernel, Pipelines } from "./kernel.ts";

/** WebGPU's limit for each dimension of a dispatch. */
const MAX_GROUPS = 65_535;

/** An activation that has no buffer yet. */
export class Memory {
  readonly bytes: number;

  constructor(bytes: number) {
    this.bytes = bytes;
  }
}

export type Operand = Memory | GPUBuffer;

interface Recorded {
  readonly kernel: Kernel;
  readonly constants: Readonly<Record<string, number>>;
  readonly operands: Readonly<Record<string, Operand>>;
  readonly x: number;
  readonly y: number;
}

interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly state: Access;
  readonly operands: GPUBindGroup;
  readonly x: number;
  readonly y: number;
}

/** What a model says, in order: kernels over activations that are symbols until `link`. */
export class Recording {
  private readonly dispatches: Recorded[] = [];
  private readonly lastUse = new Map<Memory, number>();

  /** The place after the last dispatch. */
  get mark(): number {
    return this.dispatches.length;
  }

  /** `groups`: workgroups in x and y; an upper bound, the kernel returns early. */
  dispatch<B extends string, C extends string>(
    kernel: Kernel<B, C>,
    constants: Readonly<Record<Exclude<C, "last">, number>> & { readonly last?: number },
    operands: Readonly<Record<B, Operand>>,
    groups: readonly [x: number, y: number],
  ): void {
    const [x, y] = groups;
    assert(
      x >= 1 && y >= 1 && x <= MAX_GROUPS && y <= MAX_GROUPS,
      `a grid of ${x} by ${y} workgroups can be dispatched`,
    );
    this.dispatches.push({ kernel, constants, operands, x, y });
    for (const operand of Object.values<Operand>(operands)) this.hold(operand);
  }

  /** Keeps an activation alive up to the last dispatch so far. */
  hold(operand: Operand): void {
    if (operand instanceof Memory) this.lastUse.set(operand, this.dispatches.length - 1);
  }

  /** Gives each activation a buffer from its first use to its last, and makes pipelines and bind groups. */
  link(device: Device, pipelines: Pipelines, arena: Arena): Dispatch[] {
    const { take, give } = arena.lease();
    const places = new Map<Memory, GPUBuffer>();
    const ending: Memory[][] = this.dispatches.map(() => []);
    for (const [memory, index] of this.lastUse) ending[index]!.push(memory);
    return this.dispatches.map(({ kernel, constants, operands, x, y }, index) => {
      const buffers = Object.keys(kernel.bindings).map((name) => {
        const operand = defined(operands[name], `${kernel.name}'s ${name}`);
        if (!(operand instanceof Memory)) return operand;
        const buffer = places.get(operand) ?? take(operand.bytes);
        places.set(operand, buffer);
        return buffer;
      });
      for (const memory of ending[index]!) give(defined(places.get(memory), "the place of what ends"));
      const group = device.gpu.createBindGroup({
        label: kernel.name,
        layout: pipelines.layout(kernel),
        entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
      return { pipeline: pipelines.get(kernel, constants), state: kernel.state, operands: group, x, y };
    });
  }
}

/** Encodes dispatches from one mark to another into a pass; sets only what changes. */
export function replay(
  pass: GPUComputePassEncoder,
  dispatches: readonly Dispatch[],
  states: Readonly<Record<Access, GPUBindGroup>>,
  from: number,
  to: number,
): void {
  let pipeline: GPUComputePipeline | null = null;
  let state: Access | null = null;
  for (let index = from; index < to; index++) {
    const dispatch = defined(dispatches[index], `dispatch ${index}`);
    if (dispatch.pipeline !== pipeline) pass.setPipeline(dispatch.pipeline);
    if (dispatch.state !== state) pass.setBindGroup(0, states[dispatch.state]);
    pass.setBindGroup(1, dispatch.operands);
    pass.dispatchWorkgroups(dispatch.x, dispatch.y);
    ({ pipeline, state } = dispatch);
  }
}

export type { Dispatch };
