import { assert, defined } from "../base/assert.ts";
import { hasBit, members, union } from "../base/bits.ts";
import { type Mark, NONE, type Plan, type Report, type Step } from "../ops/ops.ts";
import type { Delivery } from "./delivery.ts";
import type { Pool } from "./pool.ts";

/** A step and the plan that runs it. Chunks that run together have plans of their own. */
export interface Chunk {
  readonly plan: Plan;
  readonly step: Step;
}

/** How a chunk went. */
export interface Outcome {
  readonly report: Report;
  /**
   * By MoE layer, for each expert that had to be read: in which pass over the layer (1, 2, …) this
   * chunk was served by it.
   */
  readonly passes: ReadonlyMap<number, ReadonlyMap<number, number>>;
}

/** Runs one step to its end. */
export async function runStep(plan: Plan, step: Step, pool: Pool | null, signal?: AbortSignal): Promise<Report> {
  const [outcome] = await runSegment([{ plan, step }], pool, signal);
  return defined(outcome, "the step's outcome").report;
}

/**
 * Runs the chunks of a segment to their end, with layers in the outer loop and chunks in the inner
 * one. This is the only loop that handles stalls, for both speakers (CPU and GPU). Where a layer
 * misses experts, all chunks first run up to that layer; then the pool reads the missing experts,
 * each once, and the chunks resume there. If the promise rejects, the session's position stays
 * where it was. `pool` is null in a dense model.
 */
export async function runSegment(
  chunks: readonly Chunk[],
  pool: Pool | null,
  signal?: AbortSignal,
): Promise<readonly Outcome[]> {
  const walk = new Walk(chunks, pool, signal);
  const layers = pool?.layers ?? 0;
  let passed = 0;
  do passed = await walk.on(passed);
  while (passed < layers);
  for (const { plan, step } of chunks) pool?.finished(plan, step);
  return chunks.map((_, index) => walk.outcome(index));
}

/**
 * Runs a token that may be queued behind others. Every expert must be resident, so that nothing can
 * stall. The token has been submitted when the call returns its promise; the promises settle in the
 * order of submission.
 */
export async function runQueued({ plan, step }: Chunk, pool: Pool): Promise<Report> {
  const report = await plan.run(step, plan.begin, plan.end);
  assert(report.began && report.stall === NONE, "nothing stalls while every expert is resident");
  const counters = pool.counters(plan);
  counters.passes++;
  pool.beginStep();
  for (const [layer, wanted] of report.wanted.entries()) pool.note(counters, layer, wanted);
  pool.finished(plan, step);
  return report;
}

/** Keeps track of how far each chunk of a segment has run, and runs it on. */
class Walk {
  private readonly chunks: readonly Chunk[];
  private readonly pool: Pool | null;
  private readonly signal: AbortSignal | undefined;
  /** By chunk, the report of its last run. */
  private readonly reports: Report[] = [];
  private readonly passes: Map<number, Map<number, number>>[];
  /** How many MoE layers have been reported to the pool by `note`. */
  private noted = 0;

  constructor(chunks: readonly Chunk[], pool: Pool | null, signal: AbortSignal | undefined) {
    this.chunks = chunks;
    this.pool = pool;
    this.signal = signal;
    this.passes = chunks.map(() => new Map());
    pool?.beginStep();
  }

  outcome(index: number): Outcome {
    return { report: defined(this.reports[index], "a report"), passes: defined(this.passes[index], "a chunk") };
  }

  /**
   * Runs every chunk on: it has passed `passed` MoE layers before, and the returned number of them
   * afterwards. A chunk that passes the last MoE layer also runs the rest of its plan, up to
   * `sample`.
   */
  async on(passed: number): Promise<number> {
    let until = this.reach(passed);
    for (const [index, { plan }] of this.chunks.entries())
      await this.run(index, passed === 0 ? plan.begin : plan.after(passed - 1), this.mark(plan, until), until - passed);
    this.note(until);
    for (let layer = this.stall(); layer !== NONE; layer = this.stall()) {
      // A single chunk has no other to wait for behind this layer: it resumes as far as a new
      // submission from there would run.
      if (this.chunks.length === 1) until = Math.max(until, this.reach(layer + 1));
      await this.serve(layer, until);
      this.note(until);
    }
    return until;
  }

  /**
   * How many MoE layers will have been passed when the next submission ends, if `passed` have been
   * so far.
   */
  private reach(passed: number): number {
    const { plan } = defined(this.chunks[0], "a chunk");
    return this.pool && passed < this.pool.layers ? this.pool.until(plan, passed) : passed;
  }

  private mark(plan: Plan, until: number): Mark {
    return until === (this.pool?.layers ?? 0) ? plan.end : plan.after(until - 1);
  }

  /** The first layer at which any chunk is stalled; NONE if no chunk is. */
  private stall(): number {
    return Math.min(...this.reports.map(({ stall }) => stall));
  }

  /** `layers`: how many MoE layers lie between the marks; 0 for a resume, which is not timed. */
  private async run(index: number, from: Mark, to: Mark, layers: number): Promise<void> {
    const { plan, step } = defined(this.chunks[index], "a chunk");
    this.signal?.throwIfAborted();
    const began = performance.now();
    const report = await plan.run(step, from, to);
    assert(report.began, "nothing else is under way");
    assert(this.pool || report.stall === NONE, "a dense model does not stall");
    this.reports[index] = report;
    if (!this.pool) return;
    this.pool.counters(plan).passes++;
    if (report.stall === NONE) this.pool.pace.note(plan, layers, performance.now() - began);
    this.signal?.throwIfAborted();
  }

  /**
   * Reports to the pool which experts each layer wanted and which of them were missing: layers in
   * order, each layer once, up to the layer that the chunks have reached.
   */
  private note(until: number): void {
    const { pool, reports } = this;
    if (!pool) return;
    const counters = pool.counters(defined(this.chunks[0], "a chunk").plan);
    const stall = this.stall();
    const end = stall === NONE ? until : stall + 1;
    pool.guessed(reports.at(-1)!, end);
    for (; this.noted < end; this.noted++) {
      const layer = this.noted;
      const wanted = union(
        reports.map((report) => report.wanted[layer]!),
        pool.words,
      );
      if (layer === stall) pool.note(counters, layer, wanted, this.pending(layer));
      else pool.note(counters, layer, wanted);
    }
  }

  /** The experts for which chunks wait at a layer. */
  private pending(layer: number): Uint32Array {
    const waiting = this.reports.filter(({ stall }) => stall === layer);
    return union(
      waiting.map(({ pending }) => pending),
      this.pool!.words,
    );
  }

  /**
   * Has the pool read the experts that a layer misses, and resumes chunks as the experts arrive.
   */
  private async serve(layer: number, until: number): Promise<void> {
    const pool = defined(this.pool, "a pool");
    const { plan } = defined(this.chunks[0], "a chunk");
    const counters = pool.counters(plan);
    const delivery = pool.deliver(counters, layer, this.pending(layer), this.signal);
    try {
      for (let pass = 1; this.stall() === layer; ) {
        const index = this.next(layer, delivery, plan.form === "many");
        if (index < 0) {
          const began = performance.now();
          await delivery.arrival();
          counters.stalledMs += performance.now() - began;
          continue;
        }
        const { plan: resumed } = defined(this.chunks[index], "a chunk");
        const before = this.reports[index]!;
        const run = this.run(index, resumed.resumeAt(layer), this.mark(resumed, until), 0);
        pool.prefetch(layer);
        await run;
        const after = this.reports[index]!;
        const served = members(before.pending).filter((e) => after.stall !== layer || !hasBit(after.pending, e));
        assert(served.length > 0, "a stalled layer makes progress");
        this.remember(index, layer, served, pass++);
        delivery.consumed(this.pending(layer));
      }
    } finally {
      await delivery.end();
    }
  }

  /**
   * The index of a chunk that can resume, or -1. A prompt's chunk (`eager`) resumes as soon as one
   * of its experts is resident. A generated token waits until no read is under way, because each
   * pass over it costs the same, however many experts the pass serves.
   */
  private next(layer: number, delivery: Delivery, eager: boolean): number {
    if (delivery.reading && !eager) return -1;
    return this.reports.findIndex(({ stall, pending }) => stall === layer && delivery.holdsAny(pending));
  }

  private remember(index: number, layer: number, experts: readonly number[], pass: number): void {
    const passes = defined(this.passes[index], "a chunk");
    const ofLayer = passes.get(layer) ?? new Map<number, number>();
    passes.set(layer, ofLayer);
    for (const expert of experts) ofLayer.set(expert, pass);
  }
}
