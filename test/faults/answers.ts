/** HTTP answers that are wrong, cut, late or of another version of the file. */

import { httpSource } from "../../src/source/http.ts";
import { readRange } from "../../src/source/source.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { Draw } from "./draw.ts";
import { Tally, Wrong } from "./tally.ts";
import { answerOf, type Files, tinyFiles } from "./tiny_model.ts";

const BASE = "https://models.example/m/";
const CDN = "https://cdn.example/signed/";
const STATUSES = [
  200, 201, 204, 206, 304, 400, 401, 403, 404, 410, 412, 416, 418, 429, 451, 500, 502, 503, 504, 520, 599,
];
const BODILESS = [204, 205, 304];
const FATES = ["breaks", "stalls", "ends", "goes on"] as const;
/** So many times as fast as real ones the clocks of {@link quickly} run. */
const SPEED = 2000;

/** Runs `work` with clocks and timers a thousand times as fast: waits are part of what is tested. */
export async function quickly<T>(work: () => Promise<T>): Promise<T> {
  const { setTimeout: later, performance: clock } = globalThis;
  const now = clock.now.bind(clock);
  globalThis.setTimeout = ((call: () => void, ms = 0) => later(call, ms / SPEED)) as typeof setTimeout;
  clock.now = () => now() * SPEED;
  try {
    return await work();
  } finally {
    globalThis.setTimeout = later;
    clock.now = now;
  }
}

/**
 * Answers requests for files that have two versions, of equal lengths. A share `trouble` of the
 * answers is wrong in one way. Bytes are those that the answer's own headers say they are, since
 * nothing can tell others from the right ones.
 */
export class FaultyServer {
  /** How many requests were answered. */
  requests = 0;
  private version = 0;
  private readonly versions: readonly Files[];
  private readonly draw: Draw;
  private readonly trouble: number;

  constructor(versions: readonly Files[], draw: Draw, trouble: number) {
    this.versions = versions;
    this.draw = draw;
    this.trouble = trouble;
  }

  readonly fetch: typeof fetch = async (url, init) => {
    this.requests++;
    const { draw } = this;
    const at = String(url);
    const file = decodeURIComponent(new URL(at).pathname.split("/").at(-1) ?? "");
    const troubled = draw.chance(this.trouble);
    if (troubled && draw.chance(0.2)) this.version = (this.version + 1) % this.versions.length;
    const content = this.versions[this.version]![file];
    if (troubled && draw.chance(0.1)) throw new TypeError("fetch failed");
    if (!content) return new Response("no such file", { status: 404 });
    const range = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init?.headers).get("Range") ?? "");
    const begin = range ? Number(range[1]) : 0;
    const end = range ? Math.min(content.length, Number(range[2]) + 1) : content.length;
    const right = {
      status: range ? 206 : 200,
      headers: new Headers({
        ETag: `"v${this.version}"`,
        "Content-Length": String(Math.max(0, end - begin)),
        ...(range ? { "Content-Range": `bytes ${begin}-${end - 1}/${content.length}` } : {}),
      }),
      begin,
      end,
    };
    if (begin >= content.length && range) return new Response(null, { status: 416 });
    if (troubled) this.spoil(right, content.length);
    // Where nothing says which bytes they are, no reader can tell others from those asked for.
    if (!right.headers.has("Content-Range")) Object.assign(right, { begin, end });
    return this.respond(right, content, init, at.startsWith(BASE) && range !== null && draw.chance(0.2));
  };

  /** Changes one to two things of an answer. */
  private spoil(answer: { status: number; headers: Headers; begin: number; end: number }, length: number): void {
    const { draw } = this;
    const { headers } = answer;
    for (let change = 1 + draw.below(2); change > 0; change--)
      switch (draw.below(9)) {
        case 0:
          answer.status = draw.pick(STATUSES);
          if (draw.chance(0.5))
            headers.set("Retry-After", draw.pick(["0", "1", "60", "1e9", "-5", "soon", new Date().toUTCString()]));
          break;
        case 1: {
          // Another range than was asked for, and said so.
          const [by, to] = [draw.below(5) - 2, draw.below(5) - 2];
          answer.status = 206;
          answer.begin = Math.max(0, answer.begin + by);
          answer.end = Math.max(answer.begin, Math.min(length, answer.end + to));
          headers.set(
            "Content-Range",
            `bytes ${answer.begin}-${answer.end - 1}/${draw.pick([length, length, length + 1, "*"])}`,
          );
          headers.set("Content-Length", String(answer.end - answer.begin));
          break;
        }
        case 2:
          headers.set(
            "Content-Range",
            draw.text(headers.get("Content-Range") ?? "bytes 0-1/2").replace(/[^\x20-\x7e]/g, "?"),
          );
          answer.status = 206;
          // What it says now may be another range in the same form: then its bytes must be that one's.
          this.heed(answer, length);
          break;
        case 3:
          headers.delete(draw.pick(["Content-Range", "Content-Length"]));
          break;
        case 4:
          headers.set(
            "Content-Length",
            draw.pick(["0", "-1", "1e3", "x", "999999999999", String(answer.end - answer.begin + 1)]),
          );
          break;
        case 5:
          headers.set("Content-Encoding", draw.pick(["gzip", "identity", "br", "none", ""]));
          break;
        case 6:
          headers.set(
            "Content-Type",
            draw.pick([
              "text/html",
              "text/html; charset=utf-8",
              "application/json",
              "multipart/byteranges; boundary=x",
            ]),
          );
          break;
        case 7:
          headers.set(
            "RateLimit",
            draw.pick(['"resolvers";r=0;t=3', '"resolvers";r=0;t=99999', '"resolvers";r=;t=', "x"]),
          );
          break;
        default:
          headers.set("X-Repo-Commit", draw.pick(["0".repeat(40), "main", "f".repeat(40)]));
      }
  }

  private heed(answer: { headers: Headers; begin: number; end: number }, length: number): void {
    const said = /^bytes (\d+)-(\d+)\/(?:\d+|\*)$/.exec(answer.headers.get("Content-Range") ?? "");
    if (!said) return;
    answer.begin = Math.min(length, Number(said[1]));
    answer.end = Math.max(answer.begin, Math.min(length, Number(said[2]) + 1));
  }

  private respond(
    { status, headers, begin, end }: { status: number; headers: Headers; begin: number; end: number },
    content: Uint8Array<ArrayBuffer>,
    init: RequestInit | undefined,
    redirected: boolean,
  ): Response {
    const isEmpty = init?.method === "HEAD" || BODILESS.includes(status);
    const isPart = status === 206;
    const body = isEmpty ? null : this.body(content.slice(begin, end), isPart, init?.signal);
    const response = new Response(body, { status, headers });
    if (redirected)
      Object.defineProperties(response, { redirected: { value: true }, url: { value: `${CDN}model.safetensors` } });
    return response;
  }

  /**
   * A body in pieces, which may break or stall; that of a part may end early, or be longer than it
   * should. (Of whole files the platform sees to that, by Content-Length or chunks.)
   */
  private body(
    bytes: Uint8Array<ArrayBuffer>,
    isPart: boolean,
    signal: AbortSignal | null | undefined,
  ): ReadableStream<Uint8Array> {
    const { draw } = this;
    const fate = draw.chance(this.trouble) ? draw.pick(FATES.slice(0, isPart ? 4 : 2)) : "right";
    const last = fate === "right" || fate === "goes on" ? bytes.length : draw.below(bytes.length + 1);
    let at = 0;
    return new ReadableStream({
      start: (controller) => signal?.addEventListener("abort", () => controller.error(signal.reason), { once: true }),
      pull: async (controller) => {
        if (at < last) {
          const end = Math.min(last, at + 1 + draw.below(bytes.length));
          controller.enqueue(bytes.slice(at, end));
          at = end;
        } else if (fate === "breaks") controller.error(new TypeError("terminated"));
        else if (fate === "stalls") await new Promise(() => {});
        else {
          if (fate === "goes on") controller.enqueue(new Uint8Array(7));
          controller.close();
        }
      },
    });
  }
}

/** Files of two versions, told apart by every byte. */
const TWO = [0, 1].map(
  (version): Files => ({
    "model.safetensors": Uint8Array.from({ length: 3000 }, (_, i) => ((i * 7 + (i >> 8)) & 127) | (version << 7)),
    "config.json": new TextEncoder().encode(JSON.stringify({ version })),
  }),
);

/**
 * Ranges read from a server in trouble: what comes is what was asked for, all of one source from
 * one version.
 */
export async function answers(cases: number, seed: number): Promise<Tally> {
  const tally = new Tally("HTTP answers");
  for (let index = 0; index < cases; index++) {
    const draw = new Draw(seed + index);
    const server = new FaultyServer(TWO, draw, draw.pick([0.1, 0.3, 0.6]));
    const source = httpSource(BASE, { fetch: server.fetch });
    await tally.run(`${seed + index}`, () =>
      quickly(async () => {
        const seen = new Set<number>();
        if (draw.chance(0.5)) await checkSize(await source.size("model.safetensors"));
        for (let read = 0; read < 3; read++) {
          const begin = draw.below(2999);
          const end = begin + 1 + draw.below(3000 - begin);
          const bytes = await readRange(source, "model.safetensors", begin, end);
          const version = TWO.findIndex(
            (files) => Buffer.compare(files["model.safetensors"]!.subarray(begin, end), bytes) === 0,
          );
          if (version < 0) throw new Wrong(`bytes ${begin} to ${end} are of no version`);
          seen.add(version);
        }
        if (seen.size > 1) throw new Wrong("two versions came together");
        const text = await source.text("config.json");
        if (text !== undefined && !/^\{"version":[01]\}$/.test(text)) throw new Wrong(`config.json is ${text}`);
      }),
    );
  }
  return tally;
}

/** A size is what the server says it is; the headers of the weights are held against it later. */
function checkSize(bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw new Wrong(`the file has ${bytes} bytes`);
}

/** Whole loads and answers over a server in trouble: refused by name, or the undisturbed answer. */
export async function loads(cases: number, seed: number): Promise<Tally> {
  const tally = new Tally("models over faulty HTTP, loaded and run");
  const files = await tinyFiles();
  const calm = await answerOf(httpSource(BASE, { fetch: new FaultyServer([files], new Draw(0), 0).fetch }), null);
  for (let index = 0; index < cases; index++) {
    const draw = new Draw(seed + index);
    const server = new FaultyServer([files], draw, draw.pick([0.03, 0.1, 0.3]));
    const store: Store | null = draw.chance(0.7) ? memoryStore() : null;
    await tally.run(`${seed + index}`, () =>
      quickly(async () => {
        const answer = await answerOf(httpSource(BASE, { fetch: server.fetch }), store).catch((error) => {
          throw error?.code === "not-finite" ? new Wrong("weights that nobody sent") : error;
        });
        if (answer !== calm) throw new Wrong("another answer than undisturbed");
      }),
    );
  }
  return tally;
}
