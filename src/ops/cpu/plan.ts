import { assert, defined } from "../../base/assert.ts";
import { wordsOf } from "../../base/bits.ts";
import { type Bucket, type Form, NONE, type Plan, type Report } from "../ops.ts";
import type { State } from "./tensors.ts";
import type { CpuRecorder } from "./verbs.ts";

/** A plan that runs the recorded instructions. `pause` is called after each run. */
export function makePlan(
  state: State,
  form: Form,
  bucket: Bucket,
  recorder: CpuRecorder,
  pause: () => Promise<void>,
): Plan {
  const { instructions, resolves, combines, tapped } = recorder;
  let rows = 0;
  return {
    form,
    bucket,
    begin: 0,
    end: instructions.length,
    resumeAt: (layer) => defined(resolves[layer], `MoE layer ${layer}`),
    after: (layer) => defined(combines[layer], `MoE layer ${layer}`),

    async run(step, from, to): Promise<Report> {
      assert(step.count >= 1 && step.count <= bucket, `a step of ${step.count} tokens fits the bucket of ${bucket}`);
      state.stall = NONE;
      state.pending = new Uint32Array(0);
      rows = step.count;
      if (from === 0) {
        state.finite = true;
        state.wanted = recorder.routed.map(({ experts }) => new Uint32Array(wordsOf(experts)));
        state.guesses = [];
      }
      for (const { run, underStall } of instructions.slice(from, to)) if (underStall || state.stall === NONE) run(step);
      const { stall, pending, token, finite, guesses } = state;
      const wanted = state.wanted.map((set) => set.slice());
      const report = { seq: step.seq, began: true, stall, pending, wanted, guesses: [...guesses], token, finite };
      await pause();
      return report;
    },

    async taps() {
      return new Map([...tapped].map(([name, { data, width }]) => [name, data.slice(0, rows * width)]));
    },
  };
}
