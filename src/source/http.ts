import { MixtabError } from "../base/errors.ts";
import { release } from "../base/release.ts";
import { modelName } from "./model_name.ts";
import type { Source } from "./source.ts";

/** Attempts in a row that bring no byte before a connection counts as lost. */
const MAX_FRUITLESS = 4;
/** The wait after the first such attempt; it doubles with each further one. */
const RETRY_DELAY_MS = 250;
/** The statuses of a server that is only busy: such requests are tried again. */
const BUSY = [429, 502, 503, 504];

export interface HttpOptions {
  /** Default: the platform's. */
  readonly fetch?: typeof fetch;
  readonly retryDelayMs?: number;
}

/**
 * Files below a URL, by Range requests (RFC 9110, section 14). Only 206 with exactly the bytes
 * asked for is accepted, so a server that ignores Range never sends a whole model. Errors:
 * not-found, no-range, http, network.
 */
export function httpSource(baseUrl: string, options: HttpOptions = {}): Source {
  const base = new URL(baseUrl);
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const wire = new HttpWire(base, options);
  /**
   * The lengths of files, learnt from every Content-Range, so that asking for a size after a read
   * costs nothing.
   */
  const sizes = new Map<string, number>();

  return {
    name: modelName(base),
    remote: true,

    text: (file, signal) =>
      wire.insist(signal, async () => {
        const response = await wire.request(file, { cache: "no-cache" }, signal);
        if (isAbsent(response, file)) return await discard(response, undefined);
        if (!response.ok) throw await discard(response, statusError(response, file));
        return await response.text().catch((cause) => {
          throw cut(file, cause, signal);
        });
      }),

    size: (file, signal) =>
      wire.insist(signal, async () => {
        const known = sizes.get(file);
        if (known !== undefined) return known;
        // Two bytes: sirv, which serves Vite's previews, takes "0-0" for the whole file.
        const { response, total } = await wire.range(file, 0, 2, signal);
        const bytes = await discard(response, total ?? (await wire.length(file, signal)));
        sizes.set(file, bytes);
        return bytes;
      }),

    async *read(file, begin, end, signal) {
      let at = begin;
      for (let fruitless = 0; at < end; ) {
        const from = at;
        try {
          const { response, total } = await wire.range(file, at, end, signal);
          if (total !== undefined) {
            if ((sizes.get(file) ?? total) !== total)
              throw await discard(response, noRange(file, "its length changed on the server meanwhile"));
            sizes.set(file, total);
          }
          for await (const piece of bodyOf(response, file, end - at, signal)) {
            at += piece.length;
            yield piece;
          }
        } catch (error) {
          fruitless = at > from ? 0 : fruitless + 1;
          await wire.pause(error, fruitless, signal);
        }
      }
    },
  };
}

/** A failure that may be temporary; `outcome` is the error to throw if it is not. */
class Passing extends Error {
  readonly outcome: MixtabError;

  constructor(outcome: MixtabError) {
    super(outcome.message);
    this.outcome = outcome;
  }
}

/** Requests for files below a URL. */
class HttpWire {
  private readonly base: URL;
  private readonly fetch: typeof fetch;
  private readonly retryDelayMs: number;

  constructor(base: URL, { fetch = globalThis.fetch, retryDelayMs = RETRY_DELAY_MS }: HttpOptions) {
    this.base = base;
    this.fetch = (...request) => fetch(...request); // called as a method it throws "Illegal invocation"
    this.retryDelayMs = retryDelayMs;
  }

  async request(file: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Response> {
    const url = new URL(this.base);
    url.pathname += file.split("/").map(encodeURIComponent).join("/");
    try {
      return await this.fetch(url.href, { ...init, signal: signal ?? null });
    } catch (cause) {
      throw cut(file, cause, signal);
    }
  }

  /**
   * Asks for bytes [begin, end). Returns the 206 response, its body not yet read, and the file's
   * length where the server tells it.
   */
  async range(file: string, begin: number, end: number, signal: AbortSignal | undefined) {
    // no-store, since the browser's cache would keep a second copy, and makes requests for one URL
    // wait for each other.
    const headers = { Range: `bytes=${begin}-${end - 1}` };
    const response = await this.request(file, { headers, cache: "no-store" }, signal);
    if (isAbsent(response, file)) throw await discard(response, notFound(file));
    if (response.status !== 206) throw await discard(response, statusError(response, file));
    // CORS may hide either header from a page of another origin; those that can be seen must be
    // right.
    const { range, length, encoding } = describe(response);
    if (encoding !== null && encoding !== "identity")
      throw await discard(response, noRange(file, `it answered in the encoding ${encoding}`));
    const parts = range === null ? null : /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(range);
    const right = range === null || (parts && Number(parts[1]) === begin && Number(parts[2]) === end - 1);
    if (!right || (length !== null && Number(length) !== end - begin))
      throw await discard(
        response,
        noRange(
          file,
          `asked for bytes ${begin} to ${end - 1} it sent ${range ?? "bytes"}, ${length ?? "?"} bytes long`,
        ),
      );
    const total = parts && parts[3] !== "*" ? Number(parts[3]) : undefined;
    return { response, total };
  }

  /** A file's length by HEAD, for servers that hide Content-Range. */
  async length(file: string, signal: AbortSignal | undefined): Promise<number> {
    const response = await this.request(file, { method: "HEAD", cache: "no-cache" }, signal);
    if (!response.ok) throw statusError(response, file);
    const { length, encoding } = describe(response);
    if (length === null || encoding !== null) throw noRange(file, "it does not say how long the file is");
    return Number(length);
  }

  /** Repeats `work` while its failures may be temporary. */
  async insist<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    for (let fruitless = 1; ; fruitless++) {
      try {
        return await work();
      } catch (error) {
        await this.pause(error, fruitless, signal);
      }
    }
  }

  /**
   * Waits before the next attempt. Throws if the failure is not temporary, or if there were too
   * many attempts in a row.
   */
  async pause(error: unknown, fruitless: number, signal: AbortSignal | undefined): Promise<void> {
    if (!(error instanceof Passing)) throw error;
    if (fruitless >= MAX_FRUITLESS) throw error.outcome;
    await sleep(this.retryDelayMs * 2 ** Math.max(0, fruitless - 1), signal);
  }
}

/**
 * The pieces of a body that must be `bytes` bytes long. The body is cancelled if it is not read to
 * its end.
 */
async function* bodyOf(response: Response, file: string, bytes: number, signal: AbortSignal | undefined) {
  const reader = response.body?.getReader();
  if (!reader) throw noRange(file, "its answer has no body");
  try {
    let missing = bytes;
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw cut(file, cause, signal);
      });
      if (done) break;
      missing -= value.length;
      if (missing < 0) throw noRange(file, `it sent more than the ${bytes} bytes asked for`);
      const piece = value as Uint8Array<ArrayBuffer>;
      yield piece;
      release(piece);
    }
    if (missing > 0) throw cut(file, undefined, signal);
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Cancels a body that nobody wants, which frees its connection, and returns `outcome`. */
async function discard<T>(response: Response, outcome: T): Promise<T> {
  await response.body?.cancel().catch(() => {});
  return outcome;
}

const describe = ({ headers }: Response) => ({
  range: headers.get("Content-Range"),
  length: headers.get("Content-Length"),
  encoding: headers.get("Content-Encoding"),
});

/**
 * Whether there is no such file: 404, 410, or a page of HTML, which servers of single-page apps
 * send instead.
 */
function isAbsent(response: Response, file: string): boolean {
  if (response.status === 404 || response.status === 410) return true;
  const isPage = /^text\/html\b/i.test(response.headers.get("Content-Type") ?? "");
  return response.ok && isPage && !/\.html?$/i.test(file);
}

function notFound(file: string): MixtabError {
  return new MixtabError("not-found", `The server has no file ${file}. Check the model's address.`);
}

function statusError({ status }: Response, file: string): MixtabError | Passing {
  if (status === 200) return noRange(file, "it answered with the whole file (200 instead of 206)");
  if (status === 416) return noRange(file, "the file is shorter than it should be (416)");
  const next =
    status === 401 || status === 403
      ? "The model may not exist, or be private or gated: check its name and licence page."
      : "Try again later, or choose another address.";
  const error = new MixtabError("http", `The server answered ${status} for ${file}. ${next}`);
  return BUSY.includes(status) ? new Passing(error) : error;
}

function noRange(file: string, what: string): MixtabError {
  return new MixtabError(
    "no-range",
    `The server does not serve parts of ${file} as Range requests need: ${what}. Choose a server that answers them with 206, a static file server for example.`,
  );
}

/** The error for a connection that broke; the signal's reason if the signal aborted it. */
function cut(file: string, cause: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  const next = "Check the network (and, for another origin, that the server allows it: CORS), then load again.";
  return new Passing(new MixtabError("network", `The connection broke while reading ${file}. ${next}`, cause));
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
