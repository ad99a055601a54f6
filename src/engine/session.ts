import { assert } from "../base/assert.ts";
import { MixtabError } from "../base/errors.ts";
import type { Pool } from "../experts/pool.ts";
import { type Chunk, type Outcome, runQueued, runSegment } from "../experts/step.ts";
import type { Trace } from "../experts/trace.ts";
import {
  BUCKETS,
  type Bucket,
  type Cache,
  type Form,
  MAX_CHUNK,
  type Ops,
  type Plan,
  type Report,
  type Sampling,
  type Speaker,
  type Taps,
} from "../ops/ops.ts";

/** Prompt tokens that teach the pool what is wanted: the last ones before the answer. */
export const MARKED_PROMPT_TOKENS = 16;
/**
 * While experts are missing, so many chunks come to a layer before it is left, so that it is read
 * once for all of them.
 */
const MOST_CHUNKS = 16;
/** What chunks keep while others run: more would be taken from the experts. */
const SEGMENT_BYTES = 128 * 1024 * 1024;
/**
 * Tokens submitted ahead of the one whose report is awaited; what is generated in vain after a
 * stop.
 */
const QUEUE_DEPTH = 3;

/** What a session runs: a model that says itself, its caches, and its expert pool. */
export interface Runnable {
  readonly say: (ops: Ops) => void;
  /** D. */
  readonly width: number;
  /** By layer. */
  readonly caches: readonly Cache[];
  /** null in a dense model. */
  readonly pool: Pool | null;
  readonly contextLength: number;
  /** For how many of the next MoE layers a token's plan guesses what they will want. */
  readonly ahead: number;
}

export interface SessionOptions {
  /** Prompt tokens per step, 1 to 256. Changes speed only. */
  readonly chunk?: number;
  readonly taps?: Taps;
  /** Notes the routes of each token; needs taps "routes" or "all". */
  readonly trace?: Trace | null;
  /** Called after every step with what it tapped (taps "all"). */
  readonly onTaps?: (taps: ReadonlyMap<string, Float32Array | Uint32Array>, count: number) => void;
}

/** One conversation's cache: which ids it holds, and the steps that extend it. */
export class Session {
  /** Ids whose keys and values are in the cache, by position. */
  private ids: number[] = [];
  /** First position never written: beyond `ids` after a step that failed. */
  private high = 0;
  private seq = 0;
  private turn = 0;
  /** Steps wait for it: the tasks `between` steps, one after the other. */
  private paused = Promise.resolve();
  private pauses = 0;
  private readonly running = new Set<Promise<unknown>>();
  private readonly plans = new Map<string, Plan>();
  private readonly speaker: Speaker;
  private readonly model: Runnable;
  private readonly chunk: number;
  private readonly options: SessionOptions;

  constructor(speaker: Speaker, model: Runnable, options: SessionOptions = {}) {
    const { chunk = MAX_CHUNK } = options;
    assert(Number.isInteger(chunk) && chunk >= 1 && chunk <= MAX_CHUNK, "a chunk has 1 to 256 tokens");
    this.speaker = speaker;
    this.model = model;
    this.chunk = chunk;
    this.options = options;
  }

  /** Tokens in the cache. */
  get position(): number {
    return this.ids.length;
  }

  /**
   * Records the plans of short prompts and of answers, so that the device compiles their kernels
   * before anybody waits for them.
   */
  prepare(): void {
    for (const form of ["many", "one"] as const) this.plan(form, 1, 0);
  }

  /** Forgets everything. */
  reset(): void {
    this.ids = [];
    this.high = 0;
  }

  /**
   * Goes back to the longest prefix that `prompt` shares with the cache, and returns its length; at
   * least one token is left to run. A window's ring has overwritten older keys, so that going back
   * far means starting over.
   */
  reuse(prompt: readonly number[]): number {
    let common = 0;
    while (common < prompt.length - 1 && common < this.ids.length && prompt[common] === this.ids[common]) common++;
    const reaches = ({ ring, window }: Cache) =>
      this.high <= ring || (window !== null && this.high - common <= ring - window + 1);
    if (this.model.caches.every(reaches)) this.ids.length = common;
    else this.reset();
    return this.ids.length;
  }

  /**
   * Runs prompt tokens in chunks after what is cached. With `sample` the last report holds the next
   * id.
   */
  async prefill(prompt: readonly number[], sample: Sampling | null, signal?: AbortSignal): Promise<Report> {
    const { contextLength } = this.model;
    if (prompt.length === 0)
      throw new MixtabError("empty-prompt", "There is nothing to answer: the prompt has no tokens. Write something.");
    if (this.position + prompt.length > contextLength)
      throw new MixtabError(
        "prompt-too-long",
        `The prompt has ${this.position + prompt.length} tokens and the context ${contextLength}. Shorten the conversation, or open the model with a larger contextLength.`,
      );
    this.turn++;
    let report: Report | undefined;
    for (let begin = 0, segment = 0; begin < prompt.length; segment++) {
      const end = Math.min(prompt.length, begin + this.chunk * this.chunksAtOnce());
      const pieces: Piece[] = [];
      for (let at = begin; at < end; at += this.chunk) {
        const ids = prompt.slice(at, Math.min(at + this.chunk, end));
        const left = prompt.length - at - ids.length;
        const marked = Math.max(0, Math.min(ids.length, MARKED_PROMPT_TOKENS - left));
        pieces.push({ ids, sample: left === 0 ? sample : null, marked });
      }
      report = await this.run("many", pieces, segment, signal);
      begin = end;
    }
    return report!;
  }

  /** Runs one generated token; the report holds the next. */
  decode(id: number, sample: Sampling | null, signal?: AbortSignal): Promise<Report> {
    return this.run("one", [{ ids: [id], sample, marked: 1 }], 0, signal);
  }

  /**
   * Runs a generated token and those that follow from it, at most `limit`; yields each next one.
   * Where nothing can be missing, tokens are queued on the device ahead of what was yielded; those
   * that nobody takes do not count.
   */
  async *generate(id: number, sample: Sampling, limit: number, signal?: AbortSignal): AsyncGenerator<number, void> {
    const queue: Promise<Report>[] = [];
    let next = id;
    let submitted = 0;
    try {
      for (let count = 0; count < limit; count++) {
        signal?.throwIfAborted();
        await this.resumed();
        while (this.mayQueue && submitted < limit && queue.length < QUEUE_DEPTH) {
          const tokens = queue.length === 0 ? Uint32Array.of(next) : ("sampled" as const);
          queue.push(this.enqueue(tokens, this.position + queue.length, sample));
          submitted++;
        }
        const queued = queue.shift();
        const report = queued ? await queued : await this.decode(next, sample, signal);
        if (queued) this.accept([next], sample, report);
        else submitted++;
        next = report.token;
        yield next;
      }
    } finally {
      await Promise.allSettled(queue);
    }
  }

  /**
   * Runs `task` when no step is under way, in the middle of an answer too; steps wait until it is
   * done.
   */
  async between<T>(task: () => Promise<T>): Promise<T> {
    const before = this.paused;
    this.pauses++;
    let resume = () => {};
    this.paused = new Promise((resolve) => {
      resume = resolve;
    });
    try {
      await before;
      await Promise.allSettled(this.running);
      return await task();
    } finally {
      this.pauses--;
      resume();
    }
  }

  /** Runs chunks that follow what is cached, together. */
  private async run(form: Form, pieces: readonly Piece[], segment: number, signal?: AbortSignal): Promise<Report> {
    signal?.throwIfAborted();
    await this.resumed();
    const begin = this.position;
    let position = begin;
    const chunks = pieces.map(({ ids, sample, marked }, index): Chunk => {
      const step = { seq: this.seq++, position, count: ids.length, tokens: Uint32Array.from(ids), sample, marked };
      position += ids.length;
      return { plan: this.plan(form, ids.length, index), step };
    });
    this.high = Math.max(this.high, position);
    const outcomes = await this.track(runSegment(chunks, this.model.pool, signal));
    const { report } = outcomes.at(-1)!;
    this.accept(
      pieces.flatMap(({ ids }) => ids),
      pieces.at(-1)!.sample,
      report,
    );
    await this.tapped(form, chunks, outcomes, segment);
    return report;
  }

  /** Submits a token behind others. */
  private enqueue(tokens: Uint32Array | "sampled", position: number, sample: Sampling): Promise<Report> {
    const step = { seq: this.seq++, position, count: 1, tokens, sample, marked: 1 };
    this.high = Math.max(this.high, position + 1);
    return this.track(runQueued({ plan: this.plan("one", 1, 0), step }, this.model.pool!));
  }

  /** What the session holds from now on. */
  private accept(ids: readonly number[], sample: Sampling | null, report: Report): void {
    if (sample && !report.finite)
      throw new MixtabError(
        "not-finite",
        "The model computed numbers that are not finite. Its weights may be damaged: delete what is stored of the model (deleteModel) and open it again.",
      );
    this.ids.push(...ids);
  }

  private async tapped(form: Form, chunks: readonly Chunk[], outcomes: readonly Outcome[], segment: number) {
    const { taps = "none", trace, onTaps } = this.options;
    const { pool } = this.model;
    if (taps === "none") return;
    for (const [index, { plan, step }] of chunks.entries()) {
      const found = await plan.taps();
      const { passes } = outcomes[index]!;
      if (pool)
        trace?.add({
          turn: this.turn,
          phase: form === "one" ? 1 : 0,
          position: step.position,
          segment,
          chunk: index,
          taps: found,
          count: step.count,
          passOf: (layer, expert) => passes.get(layer)?.get(expert) ?? 0,
          wasResident: (layer, expert) => pool.wasResident(layer, expert),
        });
      onTaps?.(found, step.count);
    }
  }

  /**
   * Taps are of the last step, so that nothing may follow it before they are read; a token must fit
   * one submission.
   */
  private get mayQueue(): boolean {
    const { pool } = this.model;
    if (pool?.mode !== "queued" || (this.options.taps ?? "none") !== "none" || this.isPaused) return false;
    return pool.until(this.plan("one", 1, 0), 0) === pool.layers;
  }

  /** Chunks of a segment: many only while experts may be missing. */
  private chunksAtOnce(): number {
    const { pool, width } = this.model;
    if (!pool || pool.complete) return 1;
    const bytes = 4 * this.bucket(this.chunk) * width * (3 + pool.top);
    return Math.max(1, Math.min(MOST_CHUNKS, Math.floor(SEGMENT_BYTES / bytes)));
  }

  private get isPaused(): boolean {
    return this.pauses > 0;
  }

  /** Waits while tasks run `between` steps. */
  private async resumed(): Promise<void> {
    for (let last: Promise<void> | undefined; last !== this.paused; ) {
      last = this.paused;
      await last;
    }
  }

  private track<T>(step: Promise<T>): Promise<T> {
    this.running.add(step);
    const done = () => this.running.delete(step);
    step.then(done, done);
    return step;
  }

  private bucket(count: number): Bucket {
    return BUCKETS.find((size) => size > 1 && size >= count)!;
  }

  /** The plan for a form, a count and a place in the segment, recorded on first use. */
  private plan(form: Form, count: number, chunk: number): Plan {
    const bucket: Bucket = form === "one" ? 1 : this.bucket(count);
    const key = `${form} ${bucket} ${chunk}`;
    let plan = this.plans.get(key);
    if (!plan) {
      const { say, ahead } = this.model;
      const options = { taps: this.options.taps, chunk, ahead: form === "one" ? ahead : 0 };
      plan = this.speaker.record(form, bucket, say, options);
      this.plans.set(key, plan);
    }
    return plan;
  }
}

/** Tokens that become one chunk. */
interface Piece {
  readonly ids: readonly number[];
  readonly sample: Sampling | null;
  readonly marked: number;
}
