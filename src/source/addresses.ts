/** The Hub may ask for five minutes; it is asked again after this, as other servers are. */
const LONGEST_PAUSE_MS = 60_000;
/** The revision in the address of a Hub's folder: .../owner/name/resolve/REVISION/... */
const REVISION = /^(.*?\/[^/]+\/[^/]+\/resolve\/)(refs(?:\/|%2f)\w+(?:\/|%2f)[^/]+|[^/]+)(\/.*)$/i;

/**
 * Where the files below a URL are. The Hugging Face Hub answers a request for a large file with a
 * redirect to a signed address that expires, and counts 3,000 requests in five minutes: so the
 * address is kept and asked directly, and requests that would find the same are made once.
 */
export class Addresses {
  private readonly base: URL;
  private pinned = false;
  /** The last address of each file that was read: null where the server does not redirect. */
  private readonly kept = new Map<string, string | null>();
  /** Files whose address is being asked for. */
  private readonly asking = new Map<string, Promise<unknown>>();
  private pausedUntil = 0;

  constructor(base: URL) {
    this.base = new URL(base);
  }

  /** The address of a file below the URL, which may redirect. */
  named(file: string): string {
    const url = new URL(this.base);
    url.pathname += file.split("/").map(encodeURIComponent).join("/");
    return url.href;
  }

  /** How long the server asks for no more requests to addresses below the URL. */
  get pauseMs(): number {
    return Math.max(0, this.pausedUntil - performance.now());
  }

  /**
   * Heeds what an answer to a request below the URL says of all of them: the Hub's headers. Returns
   * the commit that it is of, if it says so.
   */
  heed({ headers }: Response): string | undefined {
    // A branch may move while its files are read; the first answer's commit holds for all.
    const commit = /^[\da-f]{40}$/.exec(headers.get("X-Repo-Commit") ?? "")?.[0];
    if (!this.pinned && commit) {
      this.pinned = true;
      this.base.pathname = this.base.pathname.replace(REVISION, `$1${commit}$3`);
    }
    const limit = /"resolvers"\s*;([^,]*)/.exec(headers.get("RateLimit") ?? "")?.[1] ?? "";
    const seconds = Number(/\bt=(\d+)/.exec(limit)?.[1] ?? 0);
    if (/\br=0\b/.test(limit)) this.pausedUntil = performance.now() + Math.min(LONGEST_PAUSE_MS, seconds * 1000);
    return commit;
  }

  /** Where a file was found last, if not below the URL itself. */
  direct(file: string): string | undefined {
    return this.kept.get(file) ?? undefined;
  }

  /** A file is no longer found at `address`. */
  forget(file: string, address: string): void {
    if (this.kept.get(file) === address) this.kept.delete(file);
  }

  /**
   * Asks for a file below the URL by `ask`, and keeps the address that the answer came from. While
   * it is not known whether a file's address redirects, only one request asks.
   */
  async find<A extends { readonly response: Response }>(file: string, ask: () => Promise<A>): Promise<A> {
    const asking = ask().then((answer) => {
      const { status, redirected, url } = answer.response;
      if (status === 206) this.kept.set(file, redirected ? url : null);
      return answer;
    });
    if (!this.kept.has(file)) {
      const done = (failure?: unknown) => {
        this.asking.delete(file);
        return failure;
      };
      const outcome = asking.then(() => done(), done);
      this.asking.set(file, outcome);
    }
    return await asking;
  }

  /**
   * What to wait for before a file is asked for: another request finds out where it is. It resolves
   * to that one's failure, if it fails.
   */
  pending(file: string): Promise<unknown> | undefined {
    return this.asking.get(file);
  }
}
