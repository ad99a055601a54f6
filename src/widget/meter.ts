import type { PoolCounters, Stats, Usage } from "../index.ts";

/** What an answer has cost so far. `promptTokens` and `cachedTokens` are known only at its end. */
export interface AnswerCounts {
  readonly tokens: number;
  /** Measured from the first token on; 0 until there are two. */
  readonly tokensPerSecond: number;
  /**
   * What the expert pool did for the answer's own tokens, without those of the prompt. All counters
   * are 0 in a dense model.
   */
  readonly decode: PoolCounters;
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
}

/**
 * Measures one answer: by how much the engine's counters have grown since it began, and the time
 * since its first token.
 */
export class Meter {
  readonly #before: Stats;
  #firstMs: number | undefined;
  #pieces = 0;

  constructor(before: Stats) {
    this.#before = before;
  }

  /** To be called when a piece of text has arrived. The first piece starts the clock. */
  token(): void {
    this.#pieces++;
    this.#firstMs ??= performance.now();
  }

  /** The counts of an answer for which nothing has been counted. */
  none(): AnswerCounts {
    return this.live(this.#before);
  }

  /**
   * The counts while the answer is made. The pool counts the tokens that run in decoding, so it
   * misses the first, which results from the prompt, and a dense model has no pool. The pieces of
   * text are counted as well, and the larger of both numbers is taken.
   */
  live(now: Stats): AnswerCounts {
    const decode = difference(now.decode, this.#before.decode);
    return this.#counts(Math.max(decode.tokens, this.#pieces), decode);
  }

  /** The counts at the end of the answer, from the engine's `usage`. */
  final({ mixtab, completion_tokens, prompt_tokens, prompt_tokens_details }: Usage): AnswerCounts {
    return {
      ...this.#counts(completion_tokens, mixtab.decode),
      promptTokens: prompt_tokens,
      cachedTokens: prompt_tokens_details.cached_tokens,
    };
  }

  #counts(tokens: number, decode: PoolCounters): AnswerCounts {
    const seconds = this.#firstMs === undefined ? 0 : (performance.now() - this.#firstMs) / 1000;
    return { tokens, tokensPerSecond: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : 0, decode };
  }
}

/** By how much the counters have grown since `earlier`. */
export function difference(now: PoolCounters, earlier: PoolCounters): PoolCounters {
  const names = Object.keys(now) as (keyof PoolCounters)[];
  return Object.fromEntries(names.map((name) => [name, now[name] - earlier[name]])) as unknown as PoolCounters;
}
