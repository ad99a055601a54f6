import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { httpSource } from "../../../src/source/http.ts";
import { readRange } from "../../../src/source/source.ts";
import { type Handler, serve, TestServer } from "./server.ts";

const server = new TestServer();
const FILE = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7 + (i >> 8)) & 255);
const files = { "m/a.bin": FILE, "m/config.json": new TextEncoder().encode('{"é":1}') };
const source = () => httpSource(`${server.url}m`, { retryDelayMs: 1 });

beforeAll(() => server.start());
afterAll(() => server.stop());
beforeEach(() => {
  server.requests.length = 0;
  server.handler = serve(files);
});

/** Breaks the connection after `bytes` of every body. */
const cutAfter =
  (bytes: number): Handler =>
  (request, response) => {
    const [, begin, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "")!.map(Number) as [
      number,
      number,
      number,
    ];
    const end = last + 1;
    response.writeHead(206, {
      "Content-Length": end - begin,
      "Content-Range": `bytes ${begin}-${end - 1}/${FILE.length}`,
    });
    if (end - begin <= bytes) return void response.end(FILE.subarray(begin, end));
    response.write(FILE.subarray(begin, begin + bytes), () => setTimeout(() => response.destroy(), 2));
  };

/** Sends a 206 with these headers, and the bytes asked for unless others are given. */
const answer =
  (headers: Record<string, string | number>, body?: Uint8Array): Handler =>
  (request, response) => {
    const [, begin, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "")!.map(Number) as [
      number,
      number,
      number,
    ];
    response.writeHead(206, headers).end(body ?? FILE.subarray(begin, last + 1));
  };

describe("read", () => {
  it("gives exactly the bytes asked for, by one Range request", async () => {
    expect(await readRange(source(), "a.bin", 123, 70_001)).toEqual(FILE.slice(123, 70_001));
    expect(server.requests).toEqual(["GET /m/a.bin bytes=123-70000"]);
  });

  it("asks for nothing where there is nothing to read", async () => {
    expect(await readRange(source(), "a.bin", 5, 5)).toEqual(new Uint8Array(0));
    expect(server.requests).toEqual([]);
  });

  it("goes on from the byte where the connection broke", async () => {
    server.handler = cutAfter(30_000);
    expect(await readRange(source(), "a.bin", 10, 90_000)).toEqual(FILE.slice(10, 90_000));
    expect(server.requests.length).toBe(3);
    const begins = server.requests.map((request) => Number(/bytes=(\d+)-/.exec(request)![1]));
    expect(begins).toEqual([10, 30_010, 60_010]);
  });

  it("gives up with network after four attempts in a row that brought nothing", async () => {
    server.handler = (request, response) => {
      if (server.requests.length === 1) return cutAfter(5000)(request, response);
      response.destroy();
    };
    await expect(readRange(source(), "a.bin", 0, 90_000)).rejects.toMatchObject({ code: "network" });
    expect(server.requests.slice(1)).toEqual(new Array(4).fill("GET /m/a.bin bytes=5000-89999"));
  });

  it("gives up with network where nobody listens", async () => {
    const dead = new TestServer();
    await dead.start();
    const { url } = dead;
    await dead.stop();
    await expect(readRange(httpSource(url, { retryDelayMs: 1 }), "a", 0, 1)).rejects.toMatchObject({ code: "network" });
  });

  it.each([
    ["the whole file", serveWhole, /200 instead of 206/],
    ["a range that begins elsewhere", answer({ "Content-Range": "bytes 11-20/100000" }), /bytes 11-20/],
    [
      "a range that ends early",
      answer({ "Content-Range": "bytes 10-18/100000", "Content-Length": 9 }, FILE.slice(10, 19)),
      /bytes 10-18/,
    ],
    ["a range in words", answer({ "Content-Range": "some bytes" }), /some bytes/],
    ["another length", answer({ "Content-Length": 9 }, FILE.slice(10, 19)), /9 bytes long/],
    ["more than was asked for", answer({}, FILE.slice(10, 21)), /more than the 10 bytes/],
    ["compressed bytes", answer({ "Content-Encoding": "br" }), /encoding br/],
    ["416", answer416, /shorter than it should be/],
  ])("refuses %s with no-range, at once", async (_, handler, message) => {
    server.handler = handler;
    const reading = readRange(source(), "a.bin", 10, 20);
    await expect(reading).rejects.toMatchObject({ code: "no-range", message: expect.stringMatching(message) });
    expect(server.requests.length).toBe(1);
  });

  it("never takes the body of a whole file: the connection is dropped", async () => {
    let dropped: (() => void) | undefined;
    const isDropped = new Promise<void>((resolve) => {
      dropped = resolve;
    });
    let sent = 0;
    server.handler = (_, response) => {
      response.writeHead(200, { "Content-Length": 1e12 });
      const more = () => {
        sent += 65536;
        if (!response.destroyed) response.write(new Uint8Array(65536), () => setTimeout(more, 1));
      };
      more();
      response.on("close", () => dropped!());
    };
    await expect(readRange(source(), "a.bin", 0, 10)).rejects.toMatchObject({ code: "no-range" });
    await isDropped;
    expect(sent).toBeLessThan(50e6);
  });

  it("accepts a server that shows neither Content-Range nor Content-Length, and counts", async () => {
    server.handler = answer({ "Transfer-Encoding": "chunked" });
    expect(await readRange(source(), "a.bin", 10, 20)).toEqual(FILE.slice(10, 20));
  });

  it.each([404, 410])("%i is not-found", async (status) => {
    server.handler = (_, response) => response.writeHead(status).end();
    await expect(readRange(source(), "a.bin", 0, 1)).rejects.toMatchObject({ code: "not-found" });
    expect(server.requests.length).toBe(1);
  });

  it("the page of a single-page server is not-found, also in parts", async () => {
    for (const status of [200, 206]) {
      server.handler = (_, response) =>
        response.writeHead(status, { "Content-Type": "text/html; charset=utf-8" }).end("<");
      await expect(readRange(source(), "a.bin", 0, 1)).rejects.toMatchObject({ code: "not-found" });
    }
  });

  it.each([401, 403, 500, 204])("%i is http with the number", async (status) => {
    server.handler = (_, response) => response.writeHead(status).end();
    await expect(readRange(source(), "a.bin", 0, 1)).rejects.toMatchObject({
      code: "http",
      message: expect.stringContaining(String(status)),
    });
    expect(server.requests.length).toBe(1);
  });

  it("a busy server is asked again, and is http where it stays busy", async () => {
    server.handler = (request, response) =>
      server.requests.length < 3 ? response.writeHead(503).end() : serve(files)(request, response);
    expect(await readRange(source(), "a.bin", 3, 9)).toEqual(FILE.slice(3, 9));
    server.handler = (_, response) => response.writeHead(429).end();
    await expect(readRange(source(), "a.bin", 0, 1)).rejects.toMatchObject({ code: "http" });
  });

  it("a file that changes its length between two reads is refused", async () => {
    const one = source();
    await readRange(one, "a.bin", 0, 10);
    server.handler = answer({ "Content-Range": "bytes 0-9/99999" });
    await expect(readRange(one, "a.bin", 0, 10)).rejects.toMatchObject({ code: "no-range" });
  });

  it("an abort ends it with the signal's reason, before, during and between attempts", async () => {
    const reason = new Error("enough");
    await expect(readRange(source(), "a.bin", 0, 9, AbortSignal.abort(reason))).rejects.toBe(reason);

    server.handler = (_, response) => {
      response.writeHead(206, { "Content-Length": 90_000, "Content-Range": "bytes 0-89999/100000" });
      response.write(FILE.subarray(0, 10)); // and then nothing
    };
    const during = new AbortController();
    const reading = source().read("a.bin", 0, 90_000, during.signal)[Symbol.asyncIterator]();
    expect((await reading.next()).value.length).toBe(10);
    setTimeout(() => during.abort(reason), 5);
    await expect(reading.next()).rejects.toBe(reason);

    server.handler = (_, response) => void response.destroy();
    const between = new AbortController();
    setTimeout(() => between.abort(reason), 50);
    const patient = httpSource(server.url, { retryDelayMs: 60_000 });
    await expect(readRange(patient, "a.bin", 0, 9, between.signal)).rejects.toBe(reason);
  });

  it("a reader that stops early frees the connection", async () => {
    const closed = new Promise<void>((resolve) => {
      server.handler = (_, response) => {
        response.writeHead(206, { "Content-Length": 90_000, "Content-Range": "bytes 0-89999/100000" });
        response.write(FILE.subarray(0, 10));
        response.on("close", resolve);
      };
    });
    for await (const piece of source().read("a.bin", 0, 90_000)) {
      expect(piece.length).toBe(10);
      break;
    }
    await closed;
  });
});

function serveWhole(_: Parameters<Handler>[0], response: Parameters<Handler>[1]): void {
  response.writeHead(200, { "Content-Length": FILE.length }).end(FILE);
}

function answer416(_: Parameters<Handler>[0], response: Parameters<Handler>[1]): void {
  response.writeHead(416).end();
}

describe("read, wherever and however often it is cut", () => {
  const BYTES = 400;

  /** Serves parts of FILE; the n-th request breaks after cuts[n] bytes, by an error or by just ending. */
  function stub(cuts: readonly { after: number; clean: boolean }[], pieceBytes: number) {
    let request = 0;
    const asked: number[] = [];
    const fetchStub = async (_: unknown, init?: RequestInit) => {
      const [, begin, last] = /bytes=(\d+)-(\d+)/
        .exec(new Headers(init!.headers).get("Range")!)!
        .map(Number) as number[];
      asked.push(begin!);
      const cut = cuts[request++];
      let at = begin!;
      const stop = cut ? Math.min(begin! + cut.after, last! + 1) : last! + 1;
      const body = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (at < stop) {
            const end = Math.min(at + pieceBytes, stop);
            controller.enqueue(FILE.slice(at, end));
            at = end;
          } else if (cut && stop <= last! && !cut.clean) controller.error(new TypeError("network error"));
          else controller.close();
        },
      });
      const headers = { "Content-Range": `bytes ${begin}-${last}/${FILE.length}` };
      return new Response(body, { status: 206, headers });
    };
    return { fetch: fetchStub as typeof fetch, asked };
  }

  it("gives the same bytes, each once, and network only after four fruitless attempts in a row", async () => {
    const cut = fc.record({ after: fc.oneof(fc.constant(0), fc.nat(BYTES)), clean: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(cut, { maxLength: 8 }), fc.integer({ min: 1, max: 99 }), async (cuts, pieceBytes) => {
        const { fetch, asked } = stub(cuts, pieceBytes);
        const source = httpSource("http://stub/", { fetch, retryDelayMs: 0 });
        let at = 0;
        let fruitless = 0;
        let lost = false;
        const begins: number[] = [];
        for (const { after } of [...cuts, { after: BYTES }]) {
          begins.push(at);
          fruitless = after === 0 ? fruitless + 1 : 0;
          at += after;
          lost = fruitless === 4;
          if (lost || at >= BYTES) break;
        }
        const reading = readRange(source, "f", 0, BYTES);
        if (lost) await expect(reading).rejects.toMatchObject({ code: "network" });
        else expect(await reading).toEqual(FILE.slice(0, BYTES));
        expect(asked).toEqual(begins);
      }),
      { numRuns: 200 },
    );
  });
});

describe("size", () => {
  it("is learnt from two bytes, and from any read before it", async () => {
    expect(await source().size("a.bin")).toBe(FILE.length);
    expect(server.requests).toEqual(["GET /m/a.bin bytes=0-1"]);
    const one = source();
    await readRange(one, "a.bin", 0, 8);
    server.requests.length = 0;
    expect(await one.size("a.bin")).toBe(FILE.length);
    expect(server.requests).toEqual([]);
  });

  it("is asked for by HEAD where the server hides it", async () => {
    server.handler = serve(files, { hideTotal: true });
    expect(await source().size("a.bin")).toBe(FILE.length);
    expect(server.requests).toEqual(["GET /m/a.bin bytes=0-1", "HEAD /m/a.bin"]);
  });

  it("of a missing file is not-found, of a server without Range no-range", async () => {
    await expect(source().size("b.bin")).rejects.toMatchObject({ code: "not-found" });
    server.handler = serveWhole;
    await expect(source().size("a.bin")).rejects.toMatchObject({ code: "no-range" });
  });
});

describe("text", () => {
  it("is the whole file as UTF-8", async () => {
    expect(await source().text("config.json")).toBe('{"é":1}');
  });

  it("of a missing file is undefined, and so is a single-page server's page", async () => {
    expect(await source().text("chat_template.jinja")).toBeUndefined();
    server.handler = (_, response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<html>");
    expect(await source().text("tokenizer.json")).toBeUndefined();
  });

  it("is read again where the connection broke, and network where it stays broken", async () => {
    server.handler = (request, response) => {
      if (server.requests.length > 2) return serve(files)(request, response);
      response.writeHead(200, { "Content-Length": 100 });
      response.write("half", () => response.destroy());
    };
    expect(await source().text("config.json")).toBe('{"é":1}');
    server.handler = (_, response) => void response.destroy();
    await expect(source().text("config.json")).rejects.toMatchObject({ code: "network" });
  });

  it("of a refusing server is http with the number", async () => {
    server.handler = (_, response) => response.writeHead(403).end();
    await expect(source().text("config.json")).rejects.toMatchObject({
      code: "http",
      message: expect.stringMatching(/403.*gated/),
    });
  });

  it("an abort ends it with the signal's reason", async () => {
    server.handler = () => {};
    const reason = new Error("enough");
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 5);
    await expect(source().text("config.json", stop.signal)).rejects.toBe(reason);
  });
});

it("the name is the folder's URL with its query, which goes with each request", async () => {
  const one = httpSource(`${server.url}m?key=1`);
  expect(one.name).toBe(`${server.url}m/?key=1`);
  expect(one.remote).toBe(true);
  server.handler = serve({ "m/sub dir/a#.bin": FILE });
  expect(await readRange(one, "sub dir/a#.bin", 0, 2)).toEqual(FILE.slice(0, 2));
  expect(server.requests).toEqual(["GET /m/sub%20dir/a%23.bin?key=1 bytes=0-1"]);
});
