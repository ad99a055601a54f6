import { excerpt } from "../base/quote.ts";
import { release } from "../base/release.ts";
import { Addresses } from "./addresses.ts";
import { changed, FileVersions, versionOf } from "./file_versions.ts";
import {
  cut,
  describe,
  discard,
  isAbsent,
  noRange,
  notFound,
  Passing,
  stalled,
  statusError,
  unanswered,
} from "./http_answer.ts";
import { Attempts } from "./http_attempts.ts";
import { unless } from "./sleep.ts";
import { Waits } from "./waits.ts";

/** The wait after the first attempt that brought nothing; it doubles with each further one. */
const RETRY_DELAY_MS = 250;
/**
 * The longest wait for the next byte, headers included: mobile networks are silent for some
 * seconds when they change cells, and servers seldom think for longer than ten.
 */
const STALL_MS = 20_000;
/**
 * The statuses of a signed address that has expired: it is asked for anew. S3 says 403 of an
 * address and 400 of the session that signed it; a mirror that has been cleared, 404.
 */
const EXPIRED = [400, 401, 403, 404, 410];
/** An address is asked for anew once; the other time is for one that another request has brought. */
const MOST_ADDRESSES = 3;

export interface HttpOptions {
  /** Default: the platform's. */
  readonly fetch?: typeof fetch;
  readonly retryDelayMs?: number;
  /** A request that brings no byte for so long is made again. Default: 20 s. */
  readonly stallMs?: number;
  /** The waits before requests are made again. Default: of this source alone. */
  readonly waits?: Waits;
}

/** An answer whose headers have come. */
export interface Answer {
  readonly response: Response;
  /** The body's pieces, each valid until the next is asked for; cancelled if not read to its end. */
  pieces(): AsyncGenerator<Uint8Array<ArrayBuffer>, void>;
}

/** Requests for files below a URL. */
export class HttpWire {
  readonly versions = new FileVersions();
  readonly waits: Waits;
  private readonly addresses: Addresses;
  private readonly fetch: typeof fetch;
  private readonly retryDelayMs: number;
  private readonly stallMs: number;

  constructor(base: URL, options: HttpOptions) {
    const { fetch = globalThis.fetch, retryDelayMs = RETRY_DELAY_MS, stallMs = STALL_MS, waits } = options;
    this.addresses = new Addresses(base);
    this.fetch = (...request) => fetch(...request); // called as a method it throws "Illegal invocation"
    this.retryDelayMs = retryDelayMs;
    this.stallMs = stallMs;
    this.waits = waits ?? new Waits();
  }

  /** Asks below the URL, where the server may redirect, once it takes requests. */
  async request(file: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Answer> {
    const { addresses, waits } = this;
    while (addresses.pauseMs > 0) await waits.wait(addresses.pauseMs, "The server takes no more requests now.", signal);
    const answer = await this.send(addresses.named(file), file, init, signal);
    const commit = addresses.heed(answer.response);
    try {
      if (commit) this.versions.checkCommit(commit);
    } catch (error) {
      throw await discard(answer.response, error);
    }
    return answer;
  }

  /** Asks where the file was found last, else below the URL. */
  private async reach(file: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Answer> {
    const { addresses } = this;
    for (let asked = 1; ; asked++) {
      for (let other = addresses.pending(file); other; other = addresses.pending(file)) {
        // Those that waited for a connection that failed have failed with it: a silent server would
        // else be waited for by one after the other.
        const failure = await unless(signal, other);
        if (failure instanceof Passing) throw failure;
      }
      const direct = addresses.direct(file);
      if (direct === undefined) return await addresses.find(file, () => this.request(file, init, signal));
      try {
        const answer = await this.send(direct, file, init, signal);
        if (!EXPIRED.includes(answer.response.status) || asked === MOST_ADDRESSES) return answer;
        await discard(answer.response, undefined);
      } catch (error) {
        // A page may not see the refusal of an address that has expired: it comes without CORS.
        if (!signal?.aborted) addresses.forget(file, direct);
        throw error;
      }
      addresses.forget(file, direct);
    }
  }

  /** One request; neither its headers nor any piece of its body is waited for longer than allowed. */
  private async send(url: string, file: string, init: RequestInit, signal: AbortSignal | undefined): Promise<Answer> {
    const stop = new AbortController();
    const each = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    const { stallMs } = this;
    // The wait ends by itself too, since not every platform ends a read that is aborted.
    const inTime = <T>(work: Promise<T>, what: string, broken: typeof cut) =>
      new Promise<T>((resolve, reject) => {
        const timer = setTimeout(() => {
          const late = stalled(what, stallMs);
          reject(late);
          stop.abort(late);
        }, stallMs);
        work.then(resolve, reject).finally(() => clearTimeout(timer));
      }).catch((cause) => {
        throw broken(file, cause, signal);
      });
    const response = await inTime(this.fetch(url, { ...init, signal: each }), `an answer about ${file}`, unanswered);

    async function* pieces() {
      const reader = response.body?.getReader();
      if (!reader) return;
      try {
        for (let at = 0; ; ) {
          const what = `more of ${file}, after ${at} bytes of an answer`;
          const { done, value } = await inTime(reader.read(), what, cut);
          if (done) return;
          at += value.length;
          const piece = value as Uint8Array<ArrayBuffer>;
          yield piece;
          release(piece);
        }
      } finally {
        await reader.cancel().catch(() => {});
      }
    }
    return { response, pieces };
  }

  /** A file's length, where an answer has told it: asking for it after a read costs nothing. */
  knownLength(file: string): number | undefined {
    return this.versions.of(file).total;
  }

  /**
   * Asks for bytes [begin, end). Returns the 206 answer, its body not yet read. Errors: changed,
   * where it is not of the version that earlier answers were of.
   */
  async range(file: string, begin: number, end: number, signal: AbortSignal | undefined) {
    // no-store, since the browser's cache would keep a second copy, and makes requests for one URL
    // wait for each other.
    const headers = { Range: `bytes=${begin}-${end - 1}` };
    const answer = await this.reach(file, { headers, cache: "no-store" }, signal);
    const { response } = answer;
    if (isAbsent(response, file)) throw await discard(response, notFound(file));
    const known = this.knownLength(file);
    if (response.status === 416 && known !== undefined && begin < known)
      throw await discard(response, changed(file, `it had ${known} bytes, and ends before byte ${begin}`));
    if (response.status !== 206) throw await discard(response, statusError(response, file));
    // CORS may hide any header from a page of another origin; those that can be seen must be right.
    const { range, length, encoding } = describe(response);
    if (encoding !== null && encoding !== "identity")
      throw await discard(response, noRange(file, `it answered in the encoding ${excerpt(encoding)}`));
    const parts = range === null ? null : /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(range);
    const total = parts && parts[3] !== "*" ? Number(parts[3]) : undefined;
    try {
      this.versions.check(file, versionOf(response, total));
    } catch (error) {
      throw await discard(response, error);
    }
    const right = range === null || (parts && Number(parts[1]) === begin && Number(parts[2]) === end - 1);
    if (!right || (length !== null && Number(length) !== end - begin))
      throw await discard(
        response,
        noRange(
          file,
          `asked for bytes ${begin} to ${end - 1} it sent ${excerpt(range ?? "bytes")}, ${excerpt(length ?? "?")} bytes long`,
        ),
      );
    return answer;
  }

  /** A file's length by HEAD, for servers that hide Content-Range. */
  async length(file: string, signal: AbortSignal | undefined): Promise<number> {
    const { response } = await this.request(file, { method: "HEAD", cache: "no-cache" }, signal);
    if (!response.ok) throw statusError(response, file);
    const { length, encoding } = describe(response);
    if (length === null || encoding !== null) throw noRange(file, "it does not say how long the file is");
    this.versions.check(file, versionOf(response, Number(length)));
    return Number(length);
  }

  /** Counts the attempts of one read of weights. */
  attempts(): Attempts {
    return new Attempts("weights", this.retryDelayMs, this.waits);
  }

  /** Repeats `work` while its failures may be temporary. */
  async insist<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    for (const attempts = new Attempts("small", this.retryDelayMs, this.waits); ; ) {
      try {
        return await work();
      } catch (error) {
        await attempts.again(error, false, signal);
      }
    }
  }
}
