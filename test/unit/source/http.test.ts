import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
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

  it("gives up with network after six attempts in a row that brought nothing", async () => {
    server.handler = (request, response) => {
      if (server.requests.length === 1) return cutAfter(5000)(request, response);
      response.destroy();
    };
    await expect(readRange(source(), "a.bin", 0, 90_000)).rejects.toMatchObject({ code: "network" });
    expect(server.requests.slice(1)).toEqual(new Array(6).fill("GET /m/a.bin bytes=5000-89999"));
  });

  it("gives up with network where nobody listens", async () => {
    const dead = new TestServer();
    await dead.start();
    const { url } = dead;
    await dead.stop();
    await expect(readRange(httpSource(url, { retryDelayMs: 1 }), "a", 0, 1)).rejects.toMatchObject({
      code: "network",
      message: expect.stringMatching(/cannot be reached, or .*CORS.*404/), // a page cannot tell these apart
    });
  });

  it.each([
    ["the whole file", serveWhole, /200 instead of 206/],
    ["a range that begins elsewhere", answer({ "Content-Range": "bytes 11-20/100000" }), /bytes 11-20/],
    [
      "a range that ends early",
      answer({ "Content-Range": "bytes 10-18/100000", "Content-Length": 9 }, FILE.slice(10, 19)),
      /bytes 10-18/,
    ],
    ["a range that begins early", answer({ "Content-Range": "bytes 9-19/100000" }), /bytes 9-19/],
    ["a range that ends late", answer({ "Content-Range": "bytes 10-20/100000" }), /bytes 10-20/],
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

  it.each([401, 403, 501, 204])("%i is http with the number", async (status) => {
    server.handler = (_, response) => response.writeHead(status).end();
    await expect(readRange(source(), "a.bin", 0, 1)).rejects.toMatchObject({
      code: "http",
      message: expect.stringContaining(String(status)),
    });
    expect(server.requests.length).toBe(1);
  });

  const busy = [429, 500, 502, 503, 504, 520, 521, 522, 523, 524];
  it.each(busy)("a server that answers %i is asked again, and it is http where it goes on", async (status) => {
    server.handler = (request, response) =>
      server.requests.length < 6 ? response.writeHead(status).end() : serve(files)(request, response);
    expect(await readRange(source(), "a.bin", 3, 9)).toEqual(FILE.slice(3, 9));
    server.requests.length = 2;
    expect(await source().text("config.json")).toBe('{"é":1}');
    server.handler = (_, response) => response.writeHead(status).end();
    const refusal = { code: "http", message: expect.stringContaining(String(status)) };
    await expect(readRange(source(), "a.bin", 0, 1)).rejects.toMatchObject(refusal);
    await expect(source().text("config.json")).rejects.toMatchObject(refusal);
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

/** Sends this much of every body, then nothing more, and counts the connections that are dropped. */
const stallAfter = (bytes: number, dropped: { count: number }): Handler => {
  return (request, response) => {
    response.on("close", () => dropped.count++);
    const [, begin, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "bytes=0-9")!.map(Number);
    response.writeHead(request.headers.range ? 206 : 200, { "Content-Length": last! + 1 - begin! });
    response.write(FILE.subarray(begin, begin! + bytes));
  };
};

describe("deadlines", () => {
  const hasty = () => httpSource(`${server.url}m`, { retryDelayMs: 1, stallMs: 60 });
  const never: Handler = () => {};
  const network = (message: RegExp) => ({ code: "network", message: expect.stringMatching(message) });

  it("a body that stalls is asked for again from where it stood", async () => {
    const dropped = { count: 0 };
    server.handler = (request, response) =>
      (server.requests.length < 3 ? stallAfter(20_000, dropped) : serve(files))(request, response);
    expect(await readRange(hasty(), "a.bin", 5, 90_000)).toEqual(FILE.slice(5, 90_000));
    const begins = server.requests.map((request) => Number(/bytes=(\d+)-/.exec(request)![1]));
    expect(begins).toEqual([5, 20_005, 40_005]);
    await expect.poll(() => dropped.count).toBe(2);
  });

  it("a request that is never answered is made again, for text, size and read", async () => {
    for (const read of [
      () => hasty().text("config.json"),
      () => hasty().size("a.bin"),
      () => readRange(hasty(), "a.bin", 0, 9),
    ]) {
      server.requests.length = 0;
      server.handler = (request, response) => (server.requests.length < 2 ? never : serve(files))(request, response);
      await read();
      expect(server.requests.length).toBe(2);
    }
  });

  it("a server that stays silent is network, which says what was waited for", async () => {
    server.handler = never;
    await expect(hasty().text("config.json")).rejects.toMatchObject(network(/0\.1 s for an answer about config\.json/));
    await expect(hasty().size("a.bin")).rejects.toMatchObject(network(/an answer about a\.bin/));
    await expect(readRange(hasty(), "a.bin", 0, 9)).rejects.toMatchObject(network(/an answer about a\.bin/));
    expect(server.requests.length).toBe(6);
  });

  it("ranges of a file that begin together wait for a silent server together", async () => {
    server.handler = never;
    const one = hasty();
    const all = [0, 10, 20, 30].map((begin) => readRange(one, "a.bin", begin, begin + 9));
    for (const { reason } of (await Promise.allSettled(all)) as PromiseRejectedResult[])
      expect(reason).toMatchObject(network(/an answer about a\.bin/));
    expect(server.requests.length).toBe(2);
  });

  it("a text whose body stalls is read again from its start, and then network", async () => {
    const dropped = { count: 0 };
    server.handler = (request, response) =>
      (server.requests.length < 2 ? stallAfter(4, dropped) : serve(files))(request, response);
    expect(await hasty().text("config.json")).toBe('{"é":1}');
    server.handler = stallAfter(4, dropped);
    await expect(hasty().text("config.json")).rejects.toMatchObject(network(/more of config\.json, after 4 bytes/));
    await expect.poll(() => dropped.count).toBe(3);
  });

  it("a size that is hidden, and HEAD not answered, is network", async () => {
    server.handler = (request, response) =>
      (request.method === "HEAD" ? never : serve(files, { hideTotal: true }))(request, response);
    await expect(hasty().size("a.bin")).rejects.toMatchObject(network(/an answer about a\.bin/));
  });

  it("a server that sends a byte and stalls each time is given up too", async () => {
    server.handler = stallAfter(1, { count: 0 });
    await expect(readRange(hasty(), "a.bin", 0, 90)).rejects.toMatchObject(network(/more of a\.bin, after 1 bytes/));
    expect(server.requests.length).toBe(8);
  });

  it("a slow body, and a reader who takes long, miss no deadline", async () => {
    const slow = () => httpSource(`${server.url}m`, { stallMs: 500 });
    server.handler = (_, response) => {
      response.writeHead(206, { "Content-Length": 8 });
      let at = 0;
      const more = () =>
        at < 8 ? response.write(FILE.subarray(at, ++at), () => setTimeout(more, 100)) : response.end();
      more();
    };
    expect(await readRange(slow(), "a.bin", 0, 8)).toEqual(FILE.slice(0, 8));
    server.handler = serve(files);
    for await (const _ of slow().read("a.bin", 0, 90_000)) await new Promise((later) => setTimeout(later, 600));
    expect(server.requests.length).toBe(2);
  });
});

describe("waits", () => {
  /** When requests come, in milliseconds of performance.now. */
  const times: number[] = [];
  const after = (count: number, status: number, headers: () => Record<string, string>): Handler => {
    times.length = 0;
    return (request, response) => {
      times.push(performance.now());
      if (times.length <= count) response.writeHead(status, headers()).end();
      else serve(files)(request, response);
    };
  };
  const gaps = () => times.slice(1).map((time, index) => time - times[index]!);

  it("grow with each attempt that brings nothing", async () => {
    server.handler = after(3, 503, () => ({}));
    await readRange(httpSource(`${server.url}m`, { retryDelayMs: 40 }), "a.bin", 0, 9);
    const [first, second, third] = gaps() as [number, number, number];
    expect(first).toBeGreaterThan(35);
    expect(second).toBeGreaterThan(75);
    expect(third).toBeGreaterThan(155);
  });

  it.each([429, 503, 500])("are as long as the Retry-After of a %i says, in seconds", async (status) => {
    server.handler = after(1, status, () => ({ "Retry-After": "1" }));
    expect(await source().text("config.json")).toBe('{"é":1}');
    expect(gaps()[0]).toBeGreaterThan(980);
    server.handler = after(1, status, () => ({ "Retry-After": "1" }));
    await readRange(source(), "a.bin", 0, 9);
    expect(gaps()[0]).toBeGreaterThan(980);
  });

  it("last until the date of Retry-After, by the server's clock", async () => {
    const at = (ms: number) => new Date(Date.now() - 3_600_000 + ms).toUTCString();
    server.handler = after(1, 503, () => ({ Date: at(0), "Retry-After": at(2000) }));
    await readRange(source(), "a.bin", 0, 9);
    expect(gaps()[0]).toBeGreaterThan(980);
    server.handler = after(1, 503, () => ({ "Retry-After": new Date(Date.now() - 9000).toUTCString() }));
    await readRange(source(), "a.bin", 0, 9);
    expect(gaps()[0]).toBeLessThan(900);
  });

  it("are a minute at most, and nonsense asks for none", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const asked = vi.fn<typeof fetch>(
        async () => new Response(null, { status: 503, headers: { "Retry-After": "86400" } }),
      );
      const reading = readRange(httpSource(server.url, { fetch: asked }), "a.bin", 0, 9);
      reading.catch(() => {});
      await vi.advanceTimersByTimeAsync(59_900);
      expect(asked).toHaveBeenCalledTimes(1);
      await vi.advanceTimersByTimeAsync(200);
      expect(asked).toHaveBeenCalledTimes(2);
      await vi.advanceTimersByTimeAsync(240_000);
      await expect(reading).rejects.toMatchObject({ code: "http" });
    } finally {
      vi.useRealTimers();
    }
    for (const value of ["soon", "-5", "1e9", ""]) {
      server.handler = after(1, 503, () => ({ "Retry-After": value }));
      await readRange(source(), "a.bin", 0, 9);
      expect(gaps()[0]).toBeLessThan(900);
    }
  });

  it("end with the signal's reason", async () => {
    server.handler = after(9, 503, () => ({ "Retry-After": "60" }));
    const reason = new Error("enough");
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 50);
    await expect(readRange(source(), "a.bin", 0, 9, stop.signal)).rejects.toBe(reason);
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

  it("gives the same bytes, each once, and network only after six fruitless attempts in a row", async () => {
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
          lost = fruitless === 6;
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

describe("a file that changes on the server", () => {
  type Identity = { etag?: string; modified?: string; total?: string };
  /** Answers as a server does whose file has this identity now. */
  const as =
    ({ etag, modified, total = String(FILE.length) }: Identity): Handler =>
    (request, response) => {
      const [, begin, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!.map(Number);
      const headers: Record<string, string> = { "Content-Range": `bytes ${begin}-${last}/${total}` };
      if (etag) headers.ETag = etag;
      if (modified) headers["Last-Modified"] = modified;
      response.writeHead(206, headers).end(FILE.subarray(begin, last! + 1));
    };
  const MONDAY = "Mon, 02 Nov 2026 10:00:00 GMT";
  const TUESDAY = "Tue, 03 Nov 2026 10:00:00 GMT";
  const refusal = (message: RegExp) => ({ code: "changed", message: expect.stringMatching(message) });

  it.each([
    ["ETag", { etag: '"1"' }, { etag: '"2"' }, /its ETag was .*1.* and is .*2.*Load the model again/],
    ["Last-Modified", { modified: MONDAY }, { modified: TUESDAY }, /Last-Modified was "Mon.* and is "Tue/],
    ["length", {}, { total: "99999" }, /its length was 100000, and is 99999/],
    ["one of them", { etag: '"1"', modified: MONDAY }, { etag: '"1"', modified: TUESDAY }, /Last-Modified/],
  ])("is changed, by its %s", async (_, before, after, message) => {
    const one = source();
    server.handler = as(before);
    await readRange(one, "a.bin", 0, 10);
    server.handler = as(after);
    await expect(readRange(one, "a.bin", 10, 20)).rejects.toMatchObject(refusal(message));
    await expect(readRange(one, "a.bin", 10, 20)).rejects.toMatchObject(refusal(message));
    expect(server.requests.length).toBe(3);
    server.handler = as(before);
    expect(await readRange(one, "a.bin", 10, 20)).toEqual(FILE.slice(10, 20));
    server.handler = as(after);
    expect(await readRange(source(), "a.bin", 10, 20)).toEqual(FILE.slice(10, 20));
  });

  it("is changed where it changes between a cut and its resumption", async () => {
    server.handler = (request, response) => {
      response.setHeader("ETag", `"${server.requests.length}"`);
      cutAfter(1000)(request, response);
    };
    const reading = source().read("a.bin", 0, 9000)[Symbol.asyncIterator]();
    expect((await reading.next()).value.length).toBe(1000);
    await expect(reading.next()).rejects.toMatchObject(refusal(/ETag/));
  });

  it("is changed where it has become shorter than what is asked for", async () => {
    const one = source();
    await readRange(one, "a.bin", 0, 10);
    server.handler = serve({ "m/a.bin": FILE.subarray(0, 5000) });
    await expect(readRange(one, "a.bin", 4000, 6000)).rejects.toMatchObject(refusal(/length was 100000, and is 5000/));
    await expect(readRange(one, "a.bin", 5000, 6000)).rejects.toMatchObject(refusal(/ends before byte 5000/));
    await expect(readRange(one, "a.bin", FILE.length, FILE.length + 1)).rejects.toMatchObject({ code: "no-range" });
  });

  it("is noticed by what becomes visible later, and by HEAD", async () => {
    const one = source();
    server.handler = as({ total: "*" });
    await readRange(one, "a.bin", 0, 10);
    server.handler = as({ total: "*", etag: '"1"' });
    await readRange(one, "a.bin", 0, 10);
    server.handler = (_, response) => response.writeHead(200, { ETag: '"2"', "Content-Length": 9 }).end();
    const hidden = as({ total: "*", etag: '"1"' });
    const head = server.handler;
    server.handler = (request, response) => (request.method === "HEAD" ? head : hidden)(request, response);
    await expect(one.size("a.bin")).rejects.toMatchObject(refusal(/ETag/));
  });

  it("is told by no header that is hidden, nor by one that a proxy weakens", async () => {
    const one = source();
    for (const identity of [
      { etag: '"1"', modified: MONDAY },
      {},
      { etag: 'W/"1"' },
      { modified: MONDAY, total: "*" },
    ]) {
      server.handler = as(identity);
      await readRange(one, "a.bin", 0, 10);
    }
  });

  it("is no other file, and nothing but Range is asked for that needs a preflight", async () => {
    const one = source();
    const sent = new Set<string>();
    server.handler = (request, response) => {
      for (const header of Object.keys(request.headers)) sent.add(header);
      as({ etag: `"${request.url}"` })(request, response);
    };
    for (const file of ["a.bin", "b.bin", "a.bin"]) await readRange(one, file, 0, 10);
    expect(sent).toContain("range");
    expect([...sent].filter((header) => /^if-|authorization/.test(header))).toEqual([]);
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

  it.each(["-1", "1e3", "many", ""])("is not taken from a Content-Length of %j", async (length) => {
    const fetch = async (_: unknown, init?: RequestInit) =>
      init?.method === "HEAD"
        ? new Response(null, { headers: { "Content-Length": length } })
        : new Response(new Uint8Array(2), { status: 206 });
    await expect(httpSource("https://x.example/m", { fetch }).size("a.bin")).rejects.toMatchObject({
      code: "no-range",
    });
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

  it.each([204, 206])("is not taken from an answer %i, which is no whole file", async (status) => {
    server.handler = (_, response) => response.writeHead(status).end(status === 206 ? '{"a":1}' : undefined);
    await expect(source().text("generation_config.json")).rejects.toMatchObject({ code: "http" });
  });

  it.each([401, 403])("of an optional file that is answered with %i is undefined", async (status) => {
    server.handler = (_, response) => response.writeHead(status).end();
    for (const file of ["model.safetensors.index.json", "tokenizer_config.json", "chat_template.jinja"])
      expect(await source().text(file)).toBeUndefined();
    expect(server.requests.length).toBe(3);
  });

  it.each(["config.json", "tokenizer.json"])(
    "of %s that is refused is http, which names both reasons",
    async (file) => {
      server.handler = (_, response) => response.writeHead(403).end();
      await expect(source().text(file)).rejects.toMatchObject({
        code: "http",
        message: expect.stringMatching(/403 for .*not there, or may not be read.*gated/),
      });
    },
  );

  it.each([
    ["config.json", 4],
    ["tokenizer_config.json", 4],
    ["tokenizer.json", 64],
    ["chat_template.jinja", 1],
    ["model.safetensors.index.json", 32],
  ])("of %s ends at %i MiB: what says that it is longer is refused unread", async (file, mib) => {
    let close = () => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    server.handler = (_, response) => {
      response.on("close", close).writeHead(200, { "Content-Length": mib * 2 ** 20 + 1 });
      response.write("{");
    };
    const refusal = { code: "too-large", message: expect.stringContaining(`${file} has ${mib * 2 ** 20 + 1} bytes`) };
    await expect(source().text(file)).rejects.toMatchObject(refusal);
    await closed;
  });

  it("that does not say its length is refused when it passes the limit, and the rest never sent", async () => {
    let sent = 0;
    let close = () => {};
    const closed = new Promise<void>((resolve) => {
      close = resolve;
    });
    server.handler = (_, response) => {
      response.on("close", close).writeHead(200, { "Content-Encoding": "identity" });
      const more = () => {
        sent += 65536;
        if (!response.destroyed) response.write(new Uint8Array(65536).fill(32), () => setTimeout(more));
      };
      more();
    };
    await expect(source().text("config.json")).rejects.toMatchObject({ code: "too-large" });
    await closed;
    expect(sent).toBeLessThan(16 * 2 ** 20);
    expect(server.requests.length).toBe(1);
  });

  it("of exactly its limit is read", async () => {
    server.handler = serve({ "m/config.json": new Uint8Array(4 * 2 ** 20).fill(32) });
    expect((await source().text("config.json"))!.length).toBe(4 * 2 ** 20);
  });

  it("that a compressed body swells to is held to the limit too", async () => {
    const body = gzipSync(new Uint8Array(300 * 2 ** 20));
    server.handler = (_, response) =>
      response.writeHead(200, { "Content-Encoding": "gzip", "Content-Length": body.length }).end(body);
    await expect(source().text("config.json")).rejects.toMatchObject({ code: "too-large" });
  });

  it("an abort ends it with the signal's reason", async () => {
    const reason = new Error("enough");
    const stop = new AbortController();
    server.handler = () => stop.abort(reason);
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
