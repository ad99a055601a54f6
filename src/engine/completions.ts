import { hasCode } from "../base/errors.ts";
import { Counters } from "../experts/counters.ts";
import type { Pool } from "../experts/pool.ts";
import { type Said, said } from "../text/reasoning.ts";
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatRequest,
  Completions,
  FinishReason,
  RequestOptions,
  Usage,
} from "./api.ts";
import type { Language } from "./language.ts";
import { type ReadRequest, readRequest } from "./request.ts";
import type { Session } from "./session.ts";
import { StopStrings } from "./stop_strings.ts";

/** What is needed to answer requests. */
export interface Answerer {
  readonly model: string;
  readonly language: Language;
  readonly session: Session;
  readonly pool: Pool | null;
  readonly contextLength: number;
  /**
   * Takes nothing for sound any more that was read of the experts, and empties the cache; null in a
   * dense model.
   */
  readonly doubt: (() => Promise<void>) | null;
  /** Aborts every request when the engine closes. */
  readonly closed: AbortSignal;
}

/** An answer in pieces; at its end, the reason why it ended and its usage. */
type Pieces = AsyncGenerator<Said, { readonly reason: FinishReason; readonly usage: Usage }>;

/** OpenAI's `chat.completions` over one session. Each request waits for those before it. */
export function completions(answerer: Answerer): Completions {
  let last: Promise<void> = Promise.resolve();

  /** Answers when the requests before are done, be it with an error. */
  async function* inTurn(request: ChatRequest, read: ReadRequest, signal: AbortSignal): Pieces {
    const before = last;
    let done = () => {};
    last = new Promise<void>((resolve) => {
      done = resolve;
    });
    try {
      await before;
      return yield* answer(answerer, request, read, signal);
    } finally {
      done();
    }
  }

  async function create(request: ChatRequest, options: RequestOptions = {}) {
    const { closed, model, language } = answerer;
    closed.throwIfAborted();
    const read = readRequest(request, language.defaults);
    const signal = options.signal ? AbortSignal.any([options.signal, closed]) : closed;
    signal.throwIfAborted();
    const pieces = inTurn(request, read, signal);
    const head = { id: `chatcmpl-${crypto.randomUUID()}`, created: Math.floor(Date.now() / 1000), model };
    if (!read.stream) return await whole(head, pieces);
    // The answer's first step runs before `create` resolves, so that for a bad prompt `create`
    // itself rejects, not the stream.
    const first = await pieces.next();
    return stream(head, first, pieces, read.includeUsage);
  }
  return { create: create as Completions["create"] };
}

/**
 * Answers a request. Where the numbers are not finite, an expert may have been damaged since it was
 * checked: the answer is then made again, once, from records read anew. What was told already is
 * kept, and the answer goes on from there; with the same seed the rest is what it would have been.
 */
async function* answer(answerer: Answerer, request: ChatRequest, read: ReadRequest, signal: AbortSignal): Pieces {
  const told: number[] = [];
  try {
    return yield* attempt(answerer, request, read, signal, told);
  } catch (error) {
    if (!answerer.doubt || !hasCode(error, "not-finite")) throw error;
    await answerer.doubt();
    return yield* attempt(answerer, request, read, signal, told);
  }
}

/** `told`: the ids that the answer begins with; those whose text is given out are added. */
async function* attempt(
  answerer: Answerer,
  request: ChatRequest,
  read: ReadRequest,
  signal: AbortSignal,
  told: number[],
): Pieces {
  const { language, session, pool, contextLength } = answerer;
  const { tokenizer, stopIds } = language;
  signal.throwIfAborted();
  const { ids: prompt, parting } = language.prompt(request.messages, read.variables);
  const before = pool && { prefill: pool.prefill.copy(), decode: pool.decode.copy() };
  const cached = session.reuse(prompt);
  let report = await session.prefill(prompt.slice(cached), read.sampling, signal);

  const decoding = tokenizer.stream({ skipSpecialTokens: true });
  const stops = new StopStrings(read.stop);
  const counts = { prompt: prompt.length, cached, completion: 0, reasoning: 0 };
  const hear = (token: number) => {
    const heard = untilStop(parting.push(token, decoding.push(token)), stops);
    counts.completion++;
    counts.reasoning += Number(parting.isReasoning);
    return heard;
  };
  for (const token of told) {
    hear(token);
    report = await session.decode(token, read.sampling, signal);
  }
  const room = Math.min(read.maxTokens, contextLength - prompt.length + 1) - told.length;
  const following = session.generate(report.token, read.sampling, room - 1, signal);
  // What nobody sees before the end can be made again from its begin.
  const unseen: Said[] = [];
  let { token } = report;
  let reason: FinishReason = "length";
  let isCut = false;
  try {
    while (true) {
      if (stopIds.has(token)) {
        counts.completion++;
        reason = "stop";
        break;
      }
      const { shown, stopped } = hear(token);
      if (read.stream) {
        yield* shown;
        told.push(token);
      } else unseen.push(...shown);
      if (stopped) {
        isCut = true;
        break;
      }
      const next = await following.next();
      if (next.done) break;
      token = next.value;
    }
  } finally {
    await following.return();
  }
  if (!isCut) {
    const last = untilStop(parting.flush(decoding.flush()), stops);
    unseen.push(...last.shown);
    isCut = last.stopped;
  }
  if (!isCut) unseen.push(...said("content", stops.flush()));
  yield* unseen;
  return { reason: isCut ? "stop" : reason, usage: usageOf(counts, pool, before) };
}

/** What is shown of an answer's pieces; only its content is searched for stop strings. */
function untilStop(pieces: readonly Said[], stops: StopStrings): { readonly shown: Said[]; readonly stopped: boolean } {
  const shown: Said[] = [];
  for (const piece of pieces) {
    if (piece.part === "reasoning") {
      shown.push(piece);
      continue;
    }
    const { text, stopped } = stops.push(piece.text);
    shown.push(...said("content", text));
    if (stopped) return { shown, stopped };
  }
  return { shown, stopped: false };
}

type Snapshot = { readonly prefill: Counters; readonly decode: Counters } | null;

interface TokenCounts {
  readonly prompt: number;
  readonly cached: number;
  readonly completion: number;
  readonly reasoning: number;
}

function usageOf({ prompt, cached, completion, reasoning }: TokenCounts, pool: Pool | null, before: Snapshot): Usage {
  const since = (phase: "prefill" | "decode") => ({
    ...(pool && before ? pool[phase].since(before[phase]) : new Counters()),
  });
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: reasoning },
    mixtab: { prefill: since("prefill"), decode: since("decode") },
  };
}

interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

async function whole(head: Head, pieces: Pieces): Promise<ChatCompletion> {
  const texts = { content: "", reasoning: "" };
  for (;;) {
    const next = await pieces.next();
    if (!next.done) {
      texts[next.value.part] += next.value.text;
      continue;
    }
    const { content, reasoning } = texts;
    const thought = reasoning === "" ? {} : { reasoning_content: reasoning };
    const message = { role: "assistant", content, refusal: null, ...thought } as const;
    return {
      ...head,
      object: "chat.completion",
      choices: [{ index: 0, message, logprobs: null, finish_reason: next.value.reason }],
      usage: next.value.usage,
    };
  }
}

async function* stream(
  head: Head,
  first: Awaited<ReturnType<Pieces["next"]>>,
  pieces: Pieces,
  includeUsage: boolean,
): AsyncGenerator<ChatCompletionChunk, void> {
  const chunk = (
    delta: ChatCompletionChunk["choices"][number]["delta"],
    reason: FinishReason | null = null,
  ): ChatCompletionChunk => ({
    ...head,
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, logprobs: null, finish_reason: reason }],
    ...(includeUsage ? { usage: null } : {}),
  });
  try {
    yield chunk({ role: "assistant", content: "" });
    let next = first;
    for (; !next.done; next = await pieces.next()) {
      const { part, text } = next.value;
      yield chunk(part === "content" ? { content: text } : { reasoning_content: text });
    }
    yield chunk({}, next.value.reason);
    if (includeUsage) yield { ...head, object: "chat.completion.chunk", choices: [], usage: next.value.usage };
  } finally {
    await pieces.return({} as never);
  }
}
