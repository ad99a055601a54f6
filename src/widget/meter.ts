import type { PoolCounters, Stats, Usage } from "../index.ts";

/** What an answer has cost so far; `promptTokens` and `cachedTokens` come with its end. */
export interface AnswerCounts {
  readonly tokens: number;
  /** From the first token on; 0 until there are two. */
  readonly tokensPerSecond: number;
  /**
   * What the expert pool did for the answer's own tokens, the prompt's not among them; all 0 in a
   * dense model.
   */
  readonly decode: PoolCounters;
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
}

/**
 * Measures one answer: the engine's counters less what they were before, and the time since the
 * first token.
 */
export class Meter {
  readonly #before: Stats;
  #firstMs: number | undefined;
  #pieces = 0;

  constructor(before: Stats) {
    this.#before = before;
  }

  /** Text has arrived; the first time starts the clock. */
  token(): void {
    this.#pieces++;
    this.#firstMs ??= performance.now();
  }

  /** Where nothing was counted. */
  none(): AnswerCounts {
    return this.live(this.#before);
  }

  /**
   * While the answer is made. A dense model has no pool that counts tokens, and the first token
   * comes of the prompt: pieces of text stand for them.
   */
  live(now: Stats): AnswerCounts {
    const decode = difference(now.decode, this.#before.decode);
    return this.#counts(Math.max(decode.tokens, this.#pieces), decode);
  }

  /** At its end, from the engine's own account. */
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

/** What was counted since `earlier`. */
export function difference(now: PoolCounters, earlier: PoolCounters): PoolCounters {
  const names = Object.keys(now) as (keyof PoolCounters)[];
  return Object.fromEntries(names.map((name) => [name, now[name] - earlier[name]])) as unknown as PoolCounters;
}
