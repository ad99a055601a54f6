import { MixtabError } from "../base/errors.ts";
import { Outage } from "./source.ts";

/**
 * The statuses of a server that is only busy or in trouble: such requests are tried again. 520 to
 * 524 are Cloudflare's, for a server behind it that does not answer.
 */
const BUSY = [429, 500, 502, 503, 504, 520, 521, 522, 523, 524];
/** The statuses of a file that is not shown, be it there or not. */
const REFUSED = [401, 403];

/** A failure that may be temporary; `outcome` is the error to throw if it is not. */
export class Passing extends Error {
  readonly outcome: Outage;
  /** Whether a deadline went by, so that the attempt was a long one. */
  readonly stalled: boolean;
  /** Whether there were too many requests, be it from this page or its whole network. */
  readonly tooMany: boolean;

  constructor(outcome: Outage, { stalled = false, tooMany = false } = {}) {
    super(outcome.message);
    this.outcome = outcome;
    this.stalled = stalled;
    this.tooMany = tooMany;
  }
}

/** The headers that tell what a body is; CORS may hide each from a page of another origin. */
export const describe = ({ headers }: Response) => ({
  range: headers.get("Content-Range"),
  length: headers.get("Content-Length"),
  encoding: headers.get("Content-Encoding"),
});

/**
 * Whether there is no such file: 404, 410, or a page of HTML, which servers of single-page apps
 * send instead.
 */
export function isAbsent(response: Response, file: string): boolean {
  if (response.status === 404 || response.status === 410) return true;
  const isPage = /^text\/html\b/i.test(response.headers.get("Content-Type") ?? "");
  return response.ok && isPage && !/\.html?$/i.test(file);
}

/** Whether the file is not shown: buckets that may not be listed answer so for an absent one. */
export const isRefused = ({ status }: Response): boolean => REFUSED.includes(status);

export function notFound(file: string): MixtabError {
  return new MixtabError("not-found", `The server has no file ${file}. Check the model's address.`);
}

export function statusError(response: Response, file: string): MixtabError | Passing {
  const { status } = response;
  if (status === 200) return noRange(file, "it answered with the whole file (200 instead of 206)");
  if (status === 416) return noRange(file, "the file is shorter than it should be (416)");
  const next = isRefused(response)
    ? "The file is not there, or may not be read: check the model's address, and whether it is private or gated."
    : "Try again later, or choose another address.";
  const message = `The server answered ${status} for ${file}. ${next}`;
  if (!BUSY.includes(status)) return new MixtabError("http", message);
  return new Passing(new Outage("http", message, { waitMs: retryAfterMs(response) }), { tooMany: status === 429 });
}

/** `Retry-After`, which is a number of seconds or a date (RFC 9110, section 10.2.3); else 0. */
function retryAfterMs({ headers }: Response): number {
  const value = headers.get("Retry-After")?.trim() ?? "";
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const now = Date.parse(headers.get("Date") ?? "") || Date.now(); // this machine's clock may be wrong
  return Math.max(0, Date.parse(value) - now) || 0;
}

export function noRange(file: string, what: string): MixtabError {
  return new MixtabError(
    "no-range",
    `The server does not serve parts of ${file} as Range requests need: ${what}. Choose a server that answers them with 206, a static file server for example.`,
  );
}

/** The error for a connection that broke; the signal's reason if the signal aborted it. */
export function cut(file: string, cause: unknown, signal: AbortSignal | undefined): unknown {
  return failed(`The connection broke while reading ${file}. Check the network, then load again.`, cause, signal);
}

/**
 * The error for a request without an answer that may be seen. A page is not told whether the network
 * is gone, or a server of another origin sent no CORS headers, as many do with a 404.
 */
export function unanswered(file: string, cause: unknown, signal: AbortSignal | undefined): unknown {
  const message =
    `There is no answer about ${file}: the network or the server cannot be reached, or a server of another origin ` +
    "does not let this page see its answer (no CORS headers; one that the file is not there, 404, often has none). " +
    "Check the network, the model's address, and that the server sends CORS headers, then load again.";
  return failed(message, cause, signal);
}

function failed(message: string, cause: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  return cause instanceof Passing ? cause : new Passing(new Outage("network", message, { cause }));
}

/** The failure of a request that brought nothing for so long; `what` was waited for. */
export function stalled(what: string, ms: number): Passing {
  const next = "Check the network, or whether the server is overloaded, then load again.";
  const message = `Waited ${Math.round(ms / 100) / 10} s for ${what}, and nothing came. ${next}`;
  return new Passing(new Outage("network", message), { stalled: true });
}

/** Cancels a body that nobody wants, which frees its connection, and returns `outcome`. */
export async function discard<T>(response: Response, outcome: T): Promise<T> {
  await response.body?.cancel().catch(() => {});
  return outcome;
}
