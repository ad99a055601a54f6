/**
 * A model hub for tests, made as huggingface.co is: small files are served by `/resolve/` itself,
 * large ones by a redirect to another origin, with a signed address that expires.
 */
import { createHash, createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface HubOptions {
  /** By path, of each commit. */
  readonly commits: Readonly<Record<string, Readonly<Record<string, Uint8Array>>>>;
  /** The commit that `main` is at first. */
  readonly main: string;
  /** How long a signed address holds. Default: an hour. */
  readonly expiresMs?: number;
  /** Requests to /resolve/ within one window; then 429. Default: 3000 in 300 s. */
  readonly limit?: { readonly requests: number; readonly windowMs: number };
  /** Headers that pages of other origins may see. Default: what the Hub exposes. */
  readonly expose?: readonly string[];
}

/** Files from this length on are redirected. */
const LARGE_BYTES = 1024;
const SECRET = "the hub's";
/** Those that the Hub exposes (2026); RateLimit is not seen by pages. */
export const EXPOSED = [
  "X-Repo-Commit",
  "X-Request-Id",
  "X-Error-Code",
  "X-Error-Message",
  "X-Total-Count",
  "ETag",
  "Link",
  "Accept-Ranges",
  "Content-Range",
  "X-Linked-Size",
  "X-Linked-ETag",
];
/** What a page sees of an answer without CORS' leave, of the headers that are sent here. */
const SAFE = ["content-length", "content-type", "last-modified", "cache-control"];

export class FakeHub {
  /** What `main` means now. */
  main: string;
  /** Requests to /resolve/ so far: revision, file, range. */
  readonly resolved: string[] = [];
  /** Requests to the other origin so far: status, file, range. */
  readonly fetched: string[] = [];
  /** Answers a request to the other origin instead, where it returns true. */
  instead: (request: IncomingMessage, response: ServerResponse) => boolean = () => false;

  private readonly options: HubOptions;
  /** Signed addresses are void that are older than this. */
  private voidBefore = 0;
  private signed = 0;
  private windowBegan = 0;
  private used = 0;
  private readonly hub = createServer((request, response) => this.resolve(request, response));
  private readonly cdn = createServer((request, response) => this.fetch(request, response));

  constructor(options: HubOptions) {
    this.options = options;
    this.main = options.main;
  }

  async start(): Promise<this> {
    for (const server of [this.hub, this.cdn]) await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
    return this;
  }

  async stop(): Promise<void> {
    for (const server of [this.hub, this.cdn]) {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    }
  }

  /** The folder of the model's branch `main`. */
  get url(): string {
    return `${origin(this.hub)}/owner/name/resolve/main/`;
  }

  /** From now on every address that was signed is refused. */
  expire(): void {
    this.voidBefore = ++this.signed;
  }

  private resolve(request: IncomingMessage, response: ServerResponse): void {
    const [, revision = "", file = ""] = /^\/owner\/name\/resolve\/([^/]+)\/(.*)$/.exec(pathOf(request)) ?? [];
    this.resolved.push([revision, file, request.headers.range].filter(Boolean).join(" "));
    this.cors(response);
    if (request.method === "OPTIONS") return void response.writeHead(204).end();
    const commit = revision === "main" ? this.main : revision;
    if (!this.mayResolve(response)) return void response.writeHead(429).end("Too many requests");
    const found = this.options.commits[commit]?.[file];
    if (this.options.commits[commit]) response.setHeader("X-Repo-Commit", commit);
    if (!found) return void response.writeHead(404, { "X-Error-Code": "EntryNotFound" }).end();
    const hash = hashOf("sha256", found);
    response.setHeader("X-Linked-Size", found.length).setHeader("X-Linked-ETag", `"${hash}"`);
    if (found.length < LARGE_BYTES) return void send(request, response, found);
    const { expiresMs = 3_600_000 } = this.options;
    const claim = `${commit}/${file}?number=${++this.signed}&expires=${Date.now() + expiresMs}`;
    response.writeHead(302, { Location: `${origin(this.cdn)}/${claim}&signature=${sign(claim)}` }).end();
  }

  /** Counts a request, and says how many more there may be. */
  private mayResolve(response: ServerResponse): boolean {
    const { requests, windowMs } = this.options.limit ?? { requests: 3000, windowMs: 300_000 };
    const now = performance.now();
    if (now - this.windowBegan >= windowMs) [this.windowBegan, this.used] = [now, 0];
    const may = this.used++ < requests;
    const seconds = Math.ceil((this.windowBegan + windowMs - now) / 1000);
    response.setHeader("RateLimit", `"resolvers";r=${Math.max(0, requests - this.used)};t=${seconds}`);
    response.setHeader("RateLimit-Policy", `"fixed window";"resolvers";q=${requests};w=${windowMs / 1000}`);
    return may;
  }

  private fetch(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, "http://x");
    const [commit = "", ...names] = decodeURIComponent(url.pathname.slice(1)).split("/");
    const file = names.join("/");
    response.on("finish", () =>
      this.fetched.push([response.statusCode, file, request.headers.range].filter(Boolean).join(" ")),
    );
    this.cors(response);
    if (this.instead(request, response)) return;
    const [claim, signature] = request.url!.slice(1).split("&signature=");
    const isDue =
      signature === sign(claim!) &&
      Number(url.searchParams.get("expires")) > Date.now() &&
      Number(url.searchParams.get("number")) > this.voidBefore;
    if (!isDue || request.method !== "GET") return void response.writeHead(403).end("Access denied");
    const found = this.options.commits[commit]?.[file];
    if (!found) return void response.writeHead(404).end();
    response.setHeader("Last-Modified", "Mon, 02 Nov 2026 10:00:00 GMT");
    send(request, response, found);
  }

  private cors(response: ServerResponse): void {
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Expose-Headers", (this.options.expose ?? EXPOSED).join(", "));
  }
}

/** What `fetch` is in a page of another origin: it hides the headers that are not exposed. */
export const pageFetch: typeof fetch = async (...request) => {
  const response = await fetch(...request);
  const exposed = response.headers.get("Access-Control-Expose-Headers")?.toLowerCase().split(", ") ?? [];
  for (const name of [...response.headers.keys()])
    if (!SAFE.includes(name) && !exposed.includes(name)) hide(response, name);
  return response;
};

/** The headers of an answer that was fetched cannot be changed, so that this one is looked over. */
function hide(response: Response, name: string): void {
  const { headers } = response;
  const get = headers.get.bind(headers);
  headers.get = (asked) => (asked.toLowerCase() === name ? null : get(asked));
}

function send(request: IncomingMessage, response: ServerResponse, file: Uint8Array): void {
  response.setHeader("ETag", `"${hashOf("sha1", file)}"`);
  response.setHeader("Accept-Ranges", "bytes");
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  if (!range) return void response.writeHead(200, { "Content-Length": file.length }).end(file);
  const begin = Number(range[1]);
  const end = Math.min(Number(range[2]) + 1, file.length);
  if (begin >= end) return void response.writeHead(416, { "Content-Range": `bytes */${file.length}` }).end();
  response.writeHead(206, {
    "Content-Length": end - begin,
    "Content-Range": `bytes ${begin}-${end - 1}/${file.length}`,
  });
  response.end(file.subarray(begin, end));
}

const hashes = new WeakMap<Uint8Array, Map<string, string>>();
/** The hash of a file, made once: it is asked for with every range. */
function hashOf(algorithm: "sha1" | "sha256", file: Uint8Array): string {
  const known = hashes.get(file) ?? new Map<string, string>();
  hashes.set(file, known);
  const hash = known.get(algorithm) ?? createHash(algorithm).update(file).digest("hex");
  known.set(algorithm, hash);
  return hash;
}

const sign = (claim: string): string => createHmac("sha256", SECRET).update(claim).digest("hex");
const origin = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const pathOf = (request: IncomingMessage): string => decodeURIComponent(new URL(request.url!, "http://x").pathname);
