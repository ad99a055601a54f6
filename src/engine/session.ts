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
  type History,
  MAX_CHUNK,
  type Ops,
  type Plan,
  type Report,
  type Sampling,
  type Speaker,
  type Taps,
} from "../ops/ops.ts";

/**
 * So many tokens at the end of a prompt are marked: of the prompt's routes, the pool's policy hears
 * only theirs, since they resemble those of the answer most.
 */
export const MARKED_PROMPT_TOKENS = 16;
/**
 * While experts are missing, a layer runs for up to so many chunks before the next layer begins. So
 * a missing expert is read once for all of these chunks.
 */
const MOST_CHUNKS = 16;
/**
 * The most bytes that the chunks of a segment may keep while others run. More memory would have to
 * be taken from the experts.
 */
const SEGMENT_BYTES = 128 * 1024 * 1024;
/**
 * At most so many tokens are queued on the device at a time. When an answer stops, those queued
 * behind its last token were computed in vain.
 */
const QUEUE_DEPTH = 3;

/**
 * What a session runs: a model (as a function that applies its operations), its caches and histories, and its
 * expert pool.
 */
export interface Runnable {
  readonly say: (ops: Ops) => void;
  /** D. */
  readonly width: number;
  /** What it keeps of earlier tokens. */
  readonly rings: readonly (Cache | History)[];
  /** null in a dense model. */
  readonly pool: Pool | null;
  readonly contextLength: number;
  /** For how many of the next MoE layers a token's plan guesses which experts they will want. */
  readonly ahead: number;
}

export interface SessionOptions {
  /** Prompt tokens per step, 1 to 256. It changes the speed only. */
  readonly chunk?: number;
  readonly taps?: Taps;
  /** Where the routes of each token are recorded; needs taps "routes" or "all". */
  readonly trace?: Trace | null;
  /** Called after every step with the tensors that it tapped (see `taps`) and its token count. */
  readonly onTaps?: (taps: ReadonlyMap<string, Float32Array | Uint32Array>, count: number) => void;
}

/** The key/value cache of one conversation: which ids it holds, and the steps that extend it. */
export class Session {
  /** The ids whose keys and values are in the cache, by position. */
  private ids: number[] = [];
  /** The first position that was never written. It lies beyond `ids` after a step that failed. */
  private high = 0;
  private seq = 0;
  private turn = 0;
  /**
   * Resolves when the last task of `between` is done. Steps wait for it, and tasks for one another.
   */
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

  /** How many tokens are in the cache. */
  get position(): number {
    return this.ids.length;
  }

  /**
   * Records the plans of short prompts and of generated tokens, so that the device compiles their
   * kernels before the first request.
   */
  prepare(): void {
    for (const form of ["many", "one"] as const) this.plan(form, 1, 0);
  }

  /** Empties the cache. */
  reset(): void {
    this.ids = [];
    this.high = 0;
  }

  /**
   * Cuts the cache to the longest prefix that it shares with `prompt`, and returns the length of
   * that. At least one token of the prompt is left to run. A cache with a window is a ring, in
   * which later keys have overwritten earlier ones; where the prefix would need overwritten keys,
   * the cache is emptied instead.
   */
  reuse(prompt: readonly number[]): number {
    let common = 0;
    while (common < prompt.length - 1 && common < this.ids.length && prompt[common] === this.ids[common]) common++;
    const reaches = ({ ring, window }: Cache | History) =>
      this.high <= ring || (window !== null && this.high - common <= ring - window + 1);
    if (this.model.rings.every(reaches)) this.ids.length = common;
    else this.reset();
    return this.ids.length;
  }

  /**
   * Runs prompt tokens in chunks, after those in the cache. With `sample` the last chunk's report
   * holds the next id.
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

  /** Runs one generated token. The report holds the next id. */
  decode(id: number, sample: Sampling | null, signal?: AbortSignal): Promise<Report> {
    return this.run("one", [{ ids: [id], sample, marked: 1 }], 0, signal);
  }

  /**
   * Runs the generated token `id` and those that follow from it, at most `limit`, and yields each
   * next id. While no expert can be missing, further tokens are queued on the device before the
   * caller asks for them. Those that the caller never takes do not enter the cache.
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
   * Runs `task` while no step is under way, if need be in the middle of an answer. Steps wait until
   * the task is done.
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

  /** Runs the chunks of one segment together, after the tokens in the cache. */
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

  /** Submits a token behind those that are queued already. */
  private enqueue(tokens: Uint32Array | "sampled", position: number, sample: Sampling): Promise<Report> {
    const step = { seq: this.seq++, position, count: 1, tokens, sample, marked: 1 };
    this.high = Math.max(this.high, position + 1);
    return this.track(runQueued({ plan: this.plan("one", 1, 0), step }, this.model.pool!));
  }

  /** Takes over the ids of a step that has run. Errors: not-finite. */
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
   * Whether tokens may be queued. With taps they may not, because taps are of the last step only
   * and must be read before another step follows. A token must also fit into one submission.
   */
  private get mayQueue(): boolean {
    const { pool } = this.model;
    if (pool?.mode !== "queued" || (this.options.taps ?? "none") !== "none" || this.isPaused) return false;
    return pool.until(this.plan("one", 1, 0), 0) === pool.layers;
  }

  /** How many chunks a segment has: more than one only while experts may be missing. */
  private chunksAtOnce(): number {
    const { pool, width } = this.model;
    if (!pool || pool.complete) return 1;
    const bytes = 4 * this.bucket(this.chunk) * width * (3 + pool.top);
    return Math.max(1, Math.min(MOST_CHUNKS, Math.floor(SEGMENT_BYTES / bytes)));
  }

  private get isPaused(): boolean {
    return this.pauses > 0;
  }

  /** Waits until no task of `between` is waiting or running. */
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

  /**
   * The plan for a form, a token count and a chunk's place in its segment. It is recorded on first
   * use.
   */
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

/** The tokens of one chunk. */
interface Piece {
  readonly ids: readonly number[];
  readonly sample: Sampling | null;
  readonly marked: number;
}
