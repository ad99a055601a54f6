import { assert } from "../base/assert.ts";
import { MixtabError } from "../base/errors.ts";
import { runStep } from "../experts/step.ts";
import type { Trace } from "../experts/trace.ts";
import {
  BUCKETS,
  type Bucket,
  type Form,
  MAX_CHUNK,
  type Plan,
  type Report,
  type Sampling,
  type Speaker,
  type Taps,
} from "../ops/ops.ts";
import type { Loaded } from "./load.ts";

/** Prompt tokens that teach the pool what is wanted: the last ones before the answer. */
const MARKED_PROMPT_TOKENS = 16;

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
  private readonly plans = new Map<string, Plan>();
  private readonly speaker: Speaker;
  private readonly loaded: Loaded;
  private readonly chunk: number;
  private readonly options: SessionOptions;

  constructor(speaker: Speaker, loaded: Loaded, options: SessionOptions = {}) {
    const { chunk = MAX_CHUNK } = options;
    assert(Number.isInteger(chunk) && chunk >= 1 && chunk <= MAX_CHUNK, "a chunk has 1 to 256 tokens");
    this.speaker = speaker;
    this.loaded = loaded;
    this.chunk = chunk;
    this.options = options;
  }

  /** Tokens in the cache. */
  get position(): number {
    return this.ids.length;
  }

  /** Records the plans of short prompts and of answers, so that the device compiles their kernels before anybody waits for them. */
  prepare(): void {
    for (const form of ["many", "one"] as const) this.plan(form, 1);
  }

  /** Forgets everything. */
  reset(): void {
    this.ids = [];
    this.high = 0;
  }

  /**
   * Goes back to the longest prefix that `prompt` shares with the cache, and returns its length; at least one token is left to run.
   * A window's ring has overwritten older keys, so that going back far means starting over.
   */
  reuse(prompt: readonly number[]): number {
    let common = 0;
    while (common < prompt.length - 1 && common < this.ids.length && prompt[common] === this.ids[common]) common++;
    const { window } = this.loaded.spec;
    const { ring } = this.loaded;
    const reachable = this.high <= ring || (window !== null && this.high - common <= ring - window + 1);
    if (reachable) this.ids.length = common;
    else this.reset();
    return this.ids.length;
  }

  /** Runs prompt tokens in chunks after what is cached. With `sample` the last report holds the next id. */
  async prefill(prompt: readonly number[], sample: Sampling | null, signal?: AbortSignal): Promise<Report> {
    const { contextLength } = this.loaded;
    if (prompt.length === 0)
      throw new MixtabError("empty-prompt", "There is nothing to answer: the prompt has no tokens. Write something.");
    if (this.position + prompt.length > contextLength)
      throw new MixtabError(
        "prompt-too-long",
        `The prompt has ${this.position + prompt.length} tokens and the context ${contextLength}. Shorten the conversation, or open the model with a larger contextLength.`,
      );
    this.turn++;
    let report: Report | undefined;
    for (let begin = 0; begin < prompt.length; begin += this.chunk) {
      const ids = prompt.slice(begin, begin + this.chunk);
      const left = prompt.length - begin - ids.length;
      const marked = Math.max(0, Math.min(ids.length, MARKED_PROMPT_TOKENS - left));
      report = await this.step("many", ids, left === 0 ? sample : null, marked, signal);
    }
    return report!;
  }

  /** Runs one generated token; the report holds the next. */
  decode(id: number, sample: Sampling | null, signal?: AbortSignal): Promise<Report> {
    return this.step("one", [id], sample, 1, signal);
  }

  private async step(
    form: Form,
    ids: readonly number[],
    sample: Sampling | null,
    marked: number,
    signal?: AbortSignal,
  ) {
    signal?.throwIfAborted();
    const plan = this.plan(form, ids.length);
    const position = this.ids.length;
    const step = { seq: this.seq++, position, count: ids.length, tokens: Uint32Array.from(ids), sample, marked };
    this.high = Math.max(this.high, position + ids.length);
    const report = await runStep(plan, step, this.loaded.pool, signal);
    if (sample && !report.finite)
      throw new MixtabError(
        "not-finite",
        "The model computed numbers that are not finite. Its weights may be damaged: delete the stored model and load it again.",
      );
    this.ids.push(...ids);

    const { taps = "none", trace, onTaps } = this.options;
    if (taps !== "none") {
      const tapped = await plan.taps();
      const { pool } = this.loaded;
      if (pool) trace?.add(this.turn, form === "one" ? 1 : 0, position, tapped, ids.length, pool);
      onTaps?.(tapped, ids.length);
    }
    return report;
  }

  /** The plan for a form and count, recorded on first use. */
  private plan(form: Form, count: number): Plan {
    const bucket: Bucket = form === "one" ? 1 : BUCKETS.find((size) => size > 1 && size >= count)!;
    const key = `${form} ${bucket}`;
    let plan = this.plans.get(key);
    if (!plan) {
      const { spec, model } = this.loaded;
      plan = this.speaker.record(form, bucket, (ops) => spec.say(ops, model), this.options.taps);
      this.plans.set(key, plan);
    }
    return plan;
  }
}
