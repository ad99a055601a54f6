import type { ChatRequest, Engine, FinishReason, Stats, Usage } from "../index.ts";
import { type AnswerCounts, Meter } from "./meter.ts";

/** How an answer ended. `usage` is absent if the answer was stopped. */
export interface AnswerEnd {
  readonly finish: FinishReason | "stopped";
  readonly counts: AnswerCounts;
  readonly usage?: Usage;
}

/**
 * Is told of an answer while it is made: its text, what it has cost so far, and the engine's
 * counters.
 */
export interface AnswerListener {
  text(piece: string): void;
  /** What the model thinks before it answers. */
  reasoning(piece: string): void;
  counts(counts: AnswerCounts): void;
  stats(stats: Stats): void;
}

const POLL_MS = 250;

/**
 * Streams one answer, and meanwhile reads the engine's counters every POLL_MS. If `signal` aborts,
 * the answer ends as "stopped"; every other failure throws.
 */
export async function streamAnswer(
  engine: Engine,
  request: ChatRequest,
  signal: AbortSignal,
  listener: AnswerListener,
): Promise<AnswerEnd> {
  signal.throwIfAborted();
  const meter = new Meter(await engine.stats());
  listener.counts(meter.none());
  const read = async (): Promise<AnswerCounts> => {
    const stats = await engine.stats();
    const counts = meter.live(stats);
    listener.stats(stats);
    listener.counts(counts);
    return counts;
  };
  const ended = new AbortController();
  const polling = repeat(read, ended.signal);

  let finish: FinishReason | "stopped" = "stopped";
  let usage: Usage | undefined;
  try {
    const options = { stream: true, stream_options: { include_usage: true } } as const;
    for await (const chunk of await engine.chat.completions.create({ ...request, ...options }, { signal })) {
      usage = chunk.usage ?? usage;
      const choice = chunk.choices[0];
      const { content, reasoning_content: reasoning } = choice?.delta ?? {};
      if (content || reasoning) meter.token();
      if (reasoning) listener.reasoning(reasoning);
      if (content) listener.text(content);
      finish = choice?.finish_reason ?? finish;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    finish = "stopped";
  } finally {
    ended.abort();
  }
  const last = await polling;
  if (!usage) return { finish, counts: await read().catch(() => last ?? meter.none()) };
  const counts = meter.final(usage);
  listener.counts(counts);
  listener.stats(await engine.stats());
  return { finish, counts, usage };
}

/**
 * Calls `read` every POLL_MS until the signal aborts, and returns its last result. If `read` fails,
 * because the engine was closed, that ends too; the stream reports the failure.
 */
async function repeat<T>(read: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  let last: T | undefined;
  try {
    while (!signal.aborted) {
      await new Promise<void>((resolve) => {
        setTimeout(resolve, POLL_MS);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      if (!signal.aborted) last = await read();
    }
  } catch {}
  return last;
}
