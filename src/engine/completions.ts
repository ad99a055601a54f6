import { Counters } from "../experts/counters.ts";
import type { Pool } from "../experts/pool.ts";
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
  /** Aborts every request when the engine closes. */
  readonly closed: AbortSignal;
}

/** An answer in pieces of text; at its end, the reason why it ended and its usage. */
type Pieces = AsyncGenerator<string, { readonly reason: FinishReason; readonly usage: Usage }>;

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

async function* answer(answerer: Answerer, request: ChatRequest, read: ReadRequest, signal: AbortSignal): Pieces {
  const { language, session, pool, contextLength } = answerer;
  const { tokenizer, stopIds } = language;
  signal.throwIfAborted();
  const prompt = language.prompt(request.messages);
  const before = pool && { prefill: pool.prefill.copy(), decode: pool.decode.copy() };
  const cached = session.reuse(prompt);
  const report = await session.prefill(prompt.slice(cached), read.sampling, signal);

  const decoding = tokenizer.stream({ skipSpecialTokens: true });
  const stops = new StopStrings(read.stop);
  const room = Math.min(read.maxTokens, contextLength - prompt.length + 1);
  const following = session.generate(report.token, read.sampling, room - 1, signal);
  let { token } = report;
  let count = 0;
  let reason: FinishReason = "length";
  try {
    while (true) {
      count++;
      if (stopIds.has(token)) {
        reason = "stop";
        break;
      }
      const { text, stopped } = stops.push(decoding.push(token));
      if (text !== "") yield text;
      if (stopped) return { reason: "stop", usage: usageOf(prompt.length, cached, count, pool, before) };
      const next = await following.next();
      if (next.done) break;
      token = next.value;
    }
  } finally {
    await following.return();
  }
  const { text, stopped } = stops.push(decoding.flush());
  const rest = stopped ? text : text + stops.flush();
  if (rest !== "") yield rest;
  if (stopped) reason = "stop";
  return { reason, usage: usageOf(prompt.length, cached, count, pool, before) };
}

type Snapshot = { readonly prefill: Counters; readonly decode: Counters } | null;

function usageOf(
  promptTokens: number,
  cachedTokens: number,
  completionTokens: number,
  pool: Pool | null,
  before: Snapshot,
): Usage {
  const since = (phase: "prefill" | "decode") => ({
    ...(pool && before ? pool[phase].since(before[phase]) : new Counters()),
  });
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
    mixtab: { prefill: since("prefill"), decode: since("decode") },
  };
}

interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

async function whole(head: Head, pieces: Pieces): Promise<ChatCompletion> {
  let content = "";
  for (;;) {
    const next = await pieces.next();
    if (!next.done) {
      content += next.value;
      continue;
    }
    const message = { role: "assistant", content, refusal: null } as const;
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
    for (; !next.done; next = await pieces.next()) yield chunk({ content: next.value });
    yield chunk({}, next.value.reason);
    if (includeUsage) yield { ...head, object: "chat.completion.chunk", choices: [], usage: next.value.usage };
  } finally {
    await pieces.return({} as never);
  }
}
