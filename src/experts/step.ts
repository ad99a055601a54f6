import { assert } from "../base/assert.ts";
import { NONE, type Plan, type Report, type Step } from "../ops/ops.ts";
import type { Pool } from "./pool.ts";

/**
 * Runs one step to its end: the only stall loop, for both speakers. Where a layer misses experts the step stands still there, the pool
 * brings them, and the step resumes at that layer. A rejection leaves the position where it was. `pool` is null in a dense model.
 */
export async function runStep(plan: Plan, step: Step, pool: Pool | null, signal?: AbortSignal): Promise<Report> {
  let stalled: Report | undefined;
  for (let from = plan.begin; ; ) {
    const to = pool ? pool.span(plan, from) : plan.end;
    const report = await plan.run(step, from, to);
    pool?.touch(plan, report);
    if (report.stall !== NONE) {
      assert(pool, "a dense model does not stall");
      assert(!samePending(stalled, report), "a stalled layer makes progress");
      stalled = report;
      await pool.bring(plan, report.stall, report.pending, signal);
      from = plan.resumeAt(report.stall);
    } else if (to === plan.end) {
      if (pool) pool.counters(plan).tokens += step.count;
      return report;
    } else from = to;
    signal?.throwIfAborted();
  }
}

function samePending(before: Report | undefined, now: Report): boolean {
  return before?.stall === now.stall && before.pending.every((word, index) => word === now.pending[index]);
}
