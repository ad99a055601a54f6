import { assert, defined } from "../../base/assert.ts";
import { wordsOf } from "../../base/bits.ts";
import { type DecodedReport, stateBytes } from "../../gpu/state_words.ts";
import { type Mark, NONE, type Plan, type Report } from "../ops.ts";
import type { Shared } from "./shared.ts";
import type { GpuRecorder } from "./verbs.ts";

/** A plan that replays the recorded dispatches. */
export function makePlan(
  { device, pipelines, numbers, arena, lasting, rebinds, runner }: Shared,
  recorder: GpuRecorder,
): Plan {
  const { form, bucket, chunk, routed, resolves, combines, sampleAt, kept, setWords, recording } = recorder;
  const dispatches = recording.link(device, pipelines, numbers, arena, lasting(chunk).arena);
  const used = stateBytes(setWords);
  let rows = 0;
  rebinds.add(() => {
    for (const dispatch of dispatches) dispatch.operands = dispatch.rebind?.() ?? dispatch.operands;
  });

  /**
   * The sets of the layers that the step has routed so far; empty sets for the others, whose words
   * in the report are left over from an older step.
   */
  const setsOf = ({ began, stall, sets }: DecodedReport, to: Mark) => {
    const isRouted = (index: number) => began && resolves[index]! <= to && (stall === NONE || index <= stall);
    const setOf = (index: number, at: number, experts: number) =>
      isRouted(index) ? sets(at, wordsOf(experts)) : new Uint32Array(wordsOf(experts));
    return {
      wanted: routed.map(({ experts, at }, index) => setOf(index, at, experts)),
      guesses: recorder.guesses
        .filter(({ from }) => isRouted(from))
        .map(({ layer, from, experts, at }) => ({ layer, from, experts: setOf(from, at, experts) })),
    };
  };

  return {
    form,
    bucket,
    begin: 0,
    end: dispatches.length,
    resumeAt: (layer) => defined(resolves[layer], `MoE layer ${layer}`),
    after: (layer) => defined(combines[layer], `MoE layer ${layer}`),

    async run(step, from, to): Promise<Report> {
      assert(step.count >= 1 && step.count <= bucket, `a step of ${step.count} tokens fits the bucket of ${bucket}`);
      rows = step.count;
      const found = await runner.run(dispatches, step, from, to, used);
      const { began, stall, token } = found;
      const passed = sampleAt !== null && from <= sampleAt && sampleAt < to;
      return {
        seq: step.seq,
        began,
        stall,
        pending: found.pending(
          began && stall !== NONE ? wordsOf(defined(routed[stall], `MoE layer ${stall}`).experts) : 0,
        ),
        ...setsOf(found, to),
        token,
        finite: found.finite || !(passed && began && stall === NONE && step.sample !== null),
      };
    },

    async taps() {
      const words = await runner.words(kept.map(({ buffer, width }) => ({ buffer, words: rows * width })));
      return new Map(
        kept.map(({ name, type }, index) => {
          const values = defined(words[index], `the words of ${name}`);
          return [name, type === "u32" ? values : new Float32Array(values.buffer)];
        }),
      );
    },
  };
}
