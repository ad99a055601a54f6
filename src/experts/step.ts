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
   * By MoE layer, of the experts that had to be brought: in which pass (1, 2, …) of the layer they
   * were there.
   */
  readonly passes: ReadonlyMap<number, ReadonlyMap<number, number>>;
}

/** Runs one step to its end. */
export async function runStep(plan: Plan, step: Step, pool: Pool | null, signal?: AbortSignal): Promise<Report> {
  const [outcome] = await runSegment([{ plan, step }], pool, signal);
  return defined(outcome, "the step's outcome").report;
}

/**
 * Runs the chunks of a segment to their end, layers outside and chunks inside: the only stall loop,
 * for both speakers. Where a layer misses experts, all chunks first come to that layer; then the
 * pool brings them, each once, and chunks resume there. A rejection leaves the position where it
 * was. `pool` is null in a dense model.
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
 * Runs a token that may be queued behind others: every expert is resident, so that nothing stalls.
 * Submitted when this returns, settled in the order of submission.
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

/** Where the chunks of a segment stand. */
class Walk {
  private readonly chunks: readonly Chunk[];
  private readonly pool: Pool | null;
  private readonly signal: AbortSignal | undefined;
  /** By chunk, the report of its last run. */
  private readonly reports: Report[] = [];
  private readonly passes: Map<number, Map<number, number>>[];
  /** MoE layers whose wanted experts the pool knows of. */
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
   * Brings every chunk from behind `passed` MoE layers to behind more of them, and returns how
   * many; behind all: to the end.
   */
  async on(passed: number): Promise<number> {
    let until = this.reach(passed);
    for (const [index, { plan }] of this.chunks.entries())
      await this.run(index, passed === 0 ? plan.begin : plan.after(passed - 1), this.mark(plan, until), until - passed);
    this.note(until);
    for (let layer = this.stall(); layer !== NONE; layer = this.stall()) {
      // One that is alone goes on at once as far as a new submission would.
      if (this.chunks.length === 1) until = Math.max(until, this.reach(layer + 1));
      await this.serve(layer, until);
      this.note(until);
    }
    return until;
  }

  /** Behind how many MoE layers the next submission may end, after `passed`. */
  private reach(passed: number): number {
    const { plan } = defined(this.chunks[0], "a chunk");
    return this.pool && passed < this.pool.layers ? this.pool.until(plan, passed) : passed;
  }

  private mark(plan: Plan, until: number): Mark {
    return until === (this.pool?.layers ?? 0) ? plan.end : plan.after(until - 1);
  }

  /** The first layer where a chunk stands still. */
  private stall(): number {
    return Math.min(...this.reports.map(({ stall }) => stall));
  }

  /** `layers`: how many MoE layers lie between the marks; 0 where that cannot be said. */
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
   * Tells the pool what layers wanted and missed, in their order, each once, up to where the chunks
   * stand.
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

  /** The experts that chunks wait for at a layer. */
  private pending(layer: number): Uint32Array {
    const waiting = this.reports.filter(({ stall }) => stall === layer);
    return union(
      waiting.map(({ pending }) => pending),
      this.pool!.words,
    );
  }

  /** Has the pool bring what a layer misses, and chunks run on as it comes. */
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
   * A chunk that can run on. A prompt's runs on with what is there; a token waits for all that is
   * being read: each pass over it costs as much.
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
