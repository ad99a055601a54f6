import { hasCode, MixtabError } from "../base/errors.ts";
import { unless } from "../source/sleep.ts";
import type { Source } from "../source/source.ts";
import type { ChatCompletion, ChatCompletionChunk, ChatRequest, Completions, Engine, RequestOptions } from "./api.ts";

const NOTE =
  "The model's files changed on the server. What was kept of the old ones is deleted, and the model is loaded anew.";

/** An engine over one version of a model. */
export interface Opened {
  readonly engine: Omit<Engine, "close" | "tryNow">;
  /** Resolves when the background fill has ended. Errors: changed. */
  readonly filled: Promise<void>;
  /** Ends all requests with `reason`, and frees the device. */
  close(reason: unknown): Promise<void>;
}

export interface Opening {
  readonly source: Source;
  readonly budgetBytes: number | "auto" | undefined;
  /** Warnings to begin with. */
  readonly notes: readonly string[];
  readonly signal: AbortSignal;
}

interface Renewal {
  readonly source: Source;
  readonly budgetBytes: number | "auto" | undefined;
  readonly signal: AbortSignal | undefined;
  open(opening: Opening): Promise<Opened>;
  /** Deletes what is kept of the model. */
  forget(): Promise<void>;
  /** Tells the user of what nobody else would. */
  warn(text: string): void;
  /** Closes what all versions share. */
  close(): void;
}

/**
 * An engine that loads its model anew, once, when the files change on the server: while they are
 * loaded, in the background, or in mid-answer. An answer of which nothing was given yet is made
 * again of the new version. Errors: changed, for the others, and when the files change once more.
 */
export async function openThroughChange(renewal: Renewal): Promise<Engine> {
  const closed = new AbortController();
  const signal = renewal.signal ? AbortSignal.any([renewal.signal, closed.signal]) : closed.signal;
  let { budgetBytes } = renewal;
  let again = renewal.source.again?.bind(renewal.source);
  let last: Opened;

  async function open(source: Source, notes: readonly string[]): Promise<Opened> {
    const opened = await renewal.open({ source, budgetBytes, notes, signal });
    last = opened;
    opened.filled.catch((error) => {
      if (!renew(opened, error)) renewal.warn(error.message);
    });
    return opened;
  }

  /** Opens the model's newer version in place of `old`; false if that was done before. */
  function renew(old: Opened, reason: unknown): boolean {
    if (old !== last || renewing) return true;
    if (!again) return false;
    renewing = true;
    current = anew(() => old.close(reason)).finally(() => {
      renewing = false;
    });
    current.catch((error) => {
      if (!signal.aborted) renewal.warn(error.message);
    });
    return true;
  }

  async function anew(before = async () => {}): Promise<Opened> {
    const source = again!();
    again = undefined;
    await before();
    await renewal.forget();
    return await open(source, [NOTE]);
  }

  let renewing = false;
  let current = open(renewal.source, []).catch((error) => {
    if (again && hasCode(error, "changed")) return anew();
    throw error;
  });

  async function create(
    request: ChatRequest,
    options: RequestOptions = {},
  ): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    for (;;) {
      const asked = current;
      const opened = await unless(options.signal, asked);
      try {
        const answer = await opened.engine.chat.completions.create(request, options);
        return Symbol.asyncIterator in answer ? watched(answer, opened) : answer;
      } catch (error) {
        if (!hasCode(error, "changed") || !renew(opened, error) || current === asked) throw error;
      }
    }
  }

  async function* watched(stream: AsyncIterable<ChatCompletionChunk>, opened: Opened) {
    try {
      yield* stream;
    } catch (error) {
      if (hasCode(error, "changed")) renew(opened, error);
      throw error;
    }
  }

  try {
    await current;
  } catch (error) {
    renewal.close();
    throw error;
  }
  return {
    get info() {
      return last.engine.info;
    },
    chat: { completions: { create: create as Completions["create"] } },
    stats: async () => (await current).engine.stats(),
    async setBudget(bytes) {
      const info = await (await current).engine.setBudget(bytes);
      budgetBytes = bytes;
      return info;
    },
    tryNow: async () => renewal.source.waits?.tryNow(),
    trace: async () => (await current).engine.trace(),
    async close() {
      const reason = new MixtabError("closed", "The engine was closed. Create a new one.");
      closed.abort(reason);
      await (await current.catch(() => last)).close(reason);
      renewal.close();
    },
  };
}
