import { assert, defined } from "../base/assert.ts";
import type { Arena } from "./arena.ts";
import type { Device } from "./device.ts";
import { type Access, encodeNumbers, type Kernel, type Pipelines, takesNumbers } from "./kernel.ts";
import type { Numbers } from "./numbers.ts";

/** WebGPU's limit for each dimension of a dispatch. */
const MAX_GROUPS = 65_535;

/** An activation that has no buffer yet. */
export class Memory {
  readonly bytes: number;

  constructor(bytes: number) {
    this.bytes = bytes;
  }
}

/**
 * A buffer that may be replaced by another, for example a page of expert slots by `resize`. The
 * plans that use it make their bind groups anew then.
 */
export interface Place {
  readonly place: () => GPUBuffer;
}

export type Operand = Memory | GPUBuffer | Place;

interface Recorded {
  readonly kernel: Kernel;
  /** The values of the kernel's overrides and numbers. */
  readonly given: Readonly<Record<string, number>>;
  readonly operands: Readonly<Record<string, Operand>>;
  readonly x: number;
  readonly y: number;
}

interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly state: Access;
  operands: GPUBindGroup;
  /** Makes the bind group again with the buffers of now; null if no operand is a `Place`. */
  readonly rebind: (() => GPUBindGroup) | null;
  readonly x: number;
  readonly y: number;
}

/**
 * The kernels that a model dispatches, in order. Their activations are symbols without a buffer
 * until `link`.
 */
export class Recording {
  private readonly dispatches: Recorded[] = [];
  private readonly firstUse = new Map<Memory, number>();
  private readonly lastUse = new Map<Memory, number>();
  private readonly cuts: number[] = [];
  private readonly lasting = new Set<Memory>();

  /** The place after the last dispatch. */
  get mark(): number {
    return this.dispatches.length;
  }

  /**
   * Records a dispatch. `groups`: workgroups in x and y, enough for a full bucket; in a shorter
   * step those that have no row return early.
   */
  dispatch<B extends string, C extends string, N extends string>(
    kernel: Kernel<B, C, N>,
    given: Readonly<Record<Exclude<C, "last"> | N, number>> & { readonly last?: number },
    operands: Readonly<Record<B, Operand>>,
    groups: readonly [x: number, y: number],
  ): void {
    const [x, y] = groups;
    assert(
      x >= 1 && y >= 1 && x <= MAX_GROUPS && y <= MAX_GROUPS,
      `a grid of ${x} by ${y} workgroups can be dispatched`,
    );
    this.dispatches.push({ kernel, given, operands, x, y });
    for (const operand of Object.values<Operand>(operands)) this.hold(operand);
  }

  /** Keeps an activation alive up to the last dispatch so far. */
  hold(operand: Operand): void {
    if (!(operand instanceof Memory)) return;
    const index = this.dispatches.length - 1;
    if (!this.firstUse.has(operand)) this.firstUse.set(operand, index);
    this.lastUse.set(operand, index);
  }

  /**
   * Marks a place where the plan may be paused while plans of other chunks run. An activation that
   * is alive across it gets memory that those plans do not use: for example the residual, which is
   * written before `resolve` and read after `combine`.
   */
  cut(): void {
    this.cuts.push(this.mark);
  }

  /**
   * Treats `memory` as if a cut lay within its life: it keeps what earlier passes over its layer
   * wrote.
   */
  outlasts(memory: Memory): void {
    this.lasting.add(memory);
  }

  /**
   * Gives each activation a buffer from its first use to its last, and makes pipelines and bind
   * groups. `shared` holds the activations that live between two cuts, and serves all plans. `own`
   * holds those that live across a cut, and serves the plans of one chunk, of which only one is in
   * the middle of a step at any time.
   */
  link(device: Device, pipelines: Pipelines, numbers: Numbers, shared: Arena, own: Arena): Dispatch[] {
    const leases = { shared: shared.lease(), own: own.lease() };
    const lives = (memory: Memory) => {
      const [first, last] = [this.firstUse.get(memory)!, this.lastUse.get(memory)!];
      return this.lasting.has(memory) || this.cuts.some((cut) => first < cut && cut <= last)
        ? leases.own
        : leases.shared;
    };
    const places = new Map<Memory, GPUBuffer>();
    const ending: Memory[][] = this.dispatches.map(() => []);
    for (const [memory, index] of this.lastUse) ending[index]!.push(memory);
    return this.dispatches.map(({ kernel, given, operands, x, y }, index) => {
      const bound = Object.keys(kernel.bindings).map((name) => {
        const operand = defined(operands[name], `${kernel.name}'s ${name}`);
        if (!(operand instanceof Memory)) return operand;
        const buffer = places.get(operand) ?? lives(operand).take(operand.bytes);
        places.set(operand, buffer);
        return buffer;
      });
      for (const memory of ending[index]!) lives(memory).give(defined(places.get(memory), "the place of what ends"));
      const uniform = takesNumbers(kernel) ? [numbers.place(encodeNumbers(kernel, given))] : [];
      const bind = () => {
        const buffers = bound.map((operand) => ({ buffer: "place" in operand ? operand.place() : operand }));
        return device.gpu.createBindGroup({
          label: kernel.name,
          layout: pipelines.layout(kernel),
          entries: [...buffers, ...uniform].map((resource, binding) => ({ binding, resource })),
        });
      };
      const rebind = bound.some((operand) => "place" in operand) ? bind : null;
      return { pipeline: pipelines.get(kernel, given), state: kernel.state, operands: bind(), rebind, x, y };
    });
  }
}

/**
 * Encodes the dispatches from one mark to another into a pass; sets pipeline and group 0 only where
 * they change.
 */
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
