import type { PoolCounters, Stats, Usage } from "../index.ts";

/** What an answer has cost so far; `promptTokens` and `cachedTokens` come with its end. */
export interface AnswerCounts {
  readonly tokens: number;
  /** From the first token on; 0 until there are two. */
  readonly tokensPerSecond: number;
  readonly hits: number;
  readonly misses: number;
  readonly uploads: number;
  readonly uploadedBytes: number;
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
}

/** Measures one answer: the engine's counters less what they were before, and the time since the first token. */
export class Meter {
  readonly #before: Stats;
  #firstMs: number | undefined;

  constructor(before: Stats) {
    this.#before = before;
  }

  /** Text has arrived; the first time starts the clock. */
  token(): void {
    this.#firstMs ??= performance.now();
  }

  /** Where nothing was counted. */
  none(): AnswerCounts {
    return this.#counts(0, () => 0);
  }

  /** While the answer is made. */
  live(now: Stats): AnswerCounts {
    const { prefill, decode } = this.#before;
    const tokens = now.decode.tokens - decode.tokens;
    const past = (name: keyof PoolCounters): number => prefill[name] + decode[name];
    return this.#counts(tokens, (name) => now.prefill[name] + now.decode[name] - past(name));
  }

  /** At its end, from the engine's own account. */
  final({ mixtab, completion_tokens, prompt_tokens, prompt_tokens_details }: Usage): AnswerCounts {
    return {
      ...this.#counts(completion_tokens, (name) => mixtab.prefill[name] + mixtab.decode[name]),
      promptTokens: prompt_tokens,
      cachedTokens: prompt_tokens_details.cached_tokens,
    };
  }

  #counts(tokens: number, of: (name: keyof PoolCounters) => number): AnswerCounts {
    const seconds = this.#firstMs === undefined ? 0 : (performance.now() - this.#firstMs) / 1000;
    return {
      tokens,
      tokensPerSecond: tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : 0,
      hits: of("hits"),
      misses: of("misses"),
      uploads: of("uploads"),
      uploadedBytes: of("uploadedBytes"),
    };
  }
}
