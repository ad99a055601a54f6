import { NONE, type Speaker } from "../ops.ts";
import { makePlan } from "./plan.ts";
import { type CpuSlots, makeSlots } from "./slots.ts";
import type { CpuCache, CpuHistory, CpuWeight, State } from "./tensors.ts";
import { CpuRecorder } from "./verbs.ts";

/**
 * How often a computing thread lets the event loop run, so that messages (an abort, for example)
 * get through.
 */
const YIELD_EVERY_MS = 30;

/** The reference speaker. Needs nothing but memory: about 5 bytes per 4-bit weight in use, packed and decoded. */
export function cpuSpeaker(): Speaker {
  const held = { weights: 0, caches: 0, arena: 0 };
  const pools: CpuSlots[] = [];
  const state: State = { stall: NONE, token: 0, finite: true, pending: new Uint32Array(0), wanted: [], guesses: [] };
  let yielded = Date.now();

  return {
    device: "cpu",
    description: "CPU (reference)",
    lost: new Promise<string>(() => {}),

    weight(matrix): CpuWeight {
      held.weights += matrix.end;
      return { matrix, bytes: new Uint8Array(matrix.end), values: null };
    },

    write(weight, offset, bytes) {
      const target = weight as CpuWeight;
      target.bytes.set(bytes, offset);
      target.values = null;
    },

    cache(ring, width, window): CpuCache {
      held.caches += 8 * ring * width;
      const numbers = ring * width;
      return { ring, width, window, keys: new Float32Array(numbers), values: new Float32Array(numbers) };
    },

    history(ring, width, window): CpuHistory {
      held.caches += 4 * ring * width;
      return { ring, width, window, rows: new Float32Array(ring * width) };
    },

    slots(count, bytes, experts) {
      const slots = makeSlots(count, bytes, experts);
      pools.push(slots);
      return slots;
    },

    record(form, bucket, model, options = {}) {
      const recorder = new CpuRecorder(state, bucket, options);
      model(recorder);
      held.arena += recorder.bytes;
      return makePlan(state, form, bucket, recorder, async () => {
        if (Date.now() - yielded < YIELD_EVERY_MS) return;
        await new Promise((resolve) => setTimeout(resolve));
        yielded = Date.now();
      });
    },

    memory: () => ({ ...held, slots: pools.reduce((sum, { count, bytes }) => sum + count * bytes, 0) }),
    close() {},
  };
}
