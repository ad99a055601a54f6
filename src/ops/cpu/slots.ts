import { assert, defined } from "../../base/assert.ts";
import type { ExpertLayout, Matrix } from "../../base/matrix.ts";
import { decodeMatrix } from "../../format/mlx_affine.ts";
import { NONE, type Slots } from "../ops.ts";

/** Slots that the verbs can look into. */
export interface CpuSlots extends Slots {
  readonly table: Uint32Array;
  readonly owners: Uint32Array;
  /** The expert that lies in a slot, decoded on first use. */
  expert(slot: number, layout: ExpertLayout): Expert;
}

/** The parts of an expert as f32, row-major; biases that it does not have are null. */
export interface Expert {
  readonly w1: Float32Array;
  readonly w3: Float32Array;
  readonly w2: Float32Array;
  readonly b1: Float32Array | null;
  readonly b3: Float32Array | null;
  readonly b2: Float32Array | null;
}

/** Slots of `bytes` each for the experts of each layer. */
export function makeSlots(count: number, bytes: number, perLayer: readonly number[]): CpuSlots {
  const layers = perLayer.length;
  const experts = Math.max(...perLayer);
  let now = count;
  const records = new Map<number, Uint8Array>();
  const decoded = new Map<number, { layout: ExpertLayout; expert: Expert }>();
  const table = new Uint32Array(layers * experts).fill(NONE);
  const owners = new Uint32Array(Math.max(count, layers * experts)).fill(NONE);
  return {
    get count() {
      return now;
    },
    most: perLayer.reduce((sum, each) => sum + each),
    bytes,
    layers,
    experts,
    table,
    owners,
    write(slot, offset, data) {
      assert(slot < now && offset + data.length <= bytes, "a record fits its slot");
      const record = records.get(slot) ?? new Uint8Array(bytes);
      record.set(data, offset);
      records.set(slot, record);
      decoded.delete(slot);
    },
    own(slot, owner) {
      owners[slot] = owner;
    },
    map(layer, expert, slot) {
      table[layer * experts + expert] = slot;
    },
    async resize(total, moves = []) {
      const moved = moves.map(({ from, to }) => ({ to, record: defined(records.get(from), "the record of a slot") }));
      for (const { to, record } of moved) {
        records.set(to, record);
        decoded.delete(to);
      }
      for (const slot of [...records.keys()]) {
        if (slot < total) continue;
        records.delete(slot);
        decoded.delete(slot);
      }
      now = total;
    },
    expert(slot, layout) {
      const known = decoded.get(slot);
      if (known?.layout === layout) return known.expert;
      const record = defined(records.get(slot), "the record of a slot");
      const part = (matrix: Matrix) => decodeMatrix(matrix, record);
      const bias = (name: "b1" | "b3" | "b2") => layout.biases && part(layout.biases[name]);
      const matrices = { w1: part(layout.w1), w3: part(layout.w3), w2: part(layout.w2) };
      const expert = { ...matrices, b1: bias("b1"), b3: bias("b3"), b2: bias("b2") };
      decoded.set(slot, { layout, expert });
      return expert;
    },
  };
}
