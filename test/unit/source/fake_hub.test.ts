import { afterEach, describe, expect, it } from "vitest";
import { httpSource } from "../../../src/source/http.ts";
import { openFiles } from "../../../src/source/open_model.ts";
import { readRange } from "../../../src/source/source.ts";
import { EXPOSED, FakeHub, type HubOptions, pageFetch } from "../../support/fake_hub.ts";

const ONE = "1".repeat(40);
const TWO = "2".repeat(40);
const bytes = (seed: number) => Uint8Array.from({ length: 50_000 }, (_, i) => (i * 7 + seed + (i >> 8)) & 255);
const utf8 = (text: string) => new TextEncoder().encode(text);
/** A safetensors file of one vector of u8, long enough to be redirected. */
function shard(name: string, length = 5000): Uint8Array {
  const header = utf8(JSON.stringify({ [name]: { dtype: "U8", shape: [length], data_offsets: [0, length] } }));
  const file = new Uint8Array(8 + header.length + length);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  return file;
}
const filesOf = (seed: number) => ({
  "config.json": utf8(`{"seed":${seed}}`),
  "a.bin": bytes(seed),
  "b.bin": bytes(seed + 1),
  "model.safetensors": shard(`x${seed}`),
});
const commits = { [ONE]: filesOf(1), [TWO]: filesOf(2) };
const A = commits[ONE]!["a.bin"];

const hubs: FakeHub[] = [];
afterEach(async () => {
  for (const hub of hubs.splice(0)) await hub.stop();
});
async function open(options: Partial<HubOptions> = {}) {
  const hub = await new FakeHub({ commits, main: ONE, ...options }).start();
  hubs.push(hub);
  const source = httpSource(hub.url, { fetch: pageFetch, retryDelayMs: 1, stallMs: 2000 });
  return { hub, source };
}
const of = (list: readonly string[], file: string) => list.filter((line) => line.includes(file));

describe("a file that the server redirects", () => {
  it("is resolved once, and all its ranges ask the address that it was found at", async () => {
    const { hub, source } = await open();
    for (let begin = 0; begin < 40_000; begin += 1000)
      expect(await readRange(source, "a.bin", begin, begin + 999)).toEqual(A.slice(begin, begin + 999));
    expect(await source.size("a.bin")).toBe(50_000);
    expect(hub.resolved).toEqual(["main a.bin bytes=0-998"]);
    expect(hub.fetched.length).toBe(40);
  });

  it("is resolved once by ranges that begin together", async () => {
    const { hub, source } = await open();
    const begins = Array.from({ length: 16 }, (_, i) => i * 1000);
    const all = begins.flatMap((begin) => ["a.bin", "b.bin"].map((file) => readRange(source, file, begin, begin + 9)));
    await Promise.all(all);
    expect(hub.resolved.length).toBe(2);
    hub.expire();
    await Promise.all(begins.map((begin) => readRange(source, "a.bin", begin, begin + 9)));
    expect(hub.resolved.length).toBe(3);
  });

  it("is resolved again when its address expires, also in the midst of a range, and only then", async () => {
    const { hub, source } = await open();
    for (let round = 1; round <= 4; round++) {
      for (let begin = 0; begin < 10; begin++) await readRange(source, "a.bin", begin, begin + 9);
      expect(hub.resolved.length).toBe(round);
      hub.expire();
    }
    let cuts = 0;
    hub.instead = (request, response) => {
      if (!request.headers.range!.startsWith("bytes=5-") || cuts++ > 0) return false;
      response.writeHead(206, { "Content-Range": `bytes 5-40004/${A.length}`, "Content-Length": 40_000 });
      response.write(A.subarray(5, 1005), () => setTimeout(() => response.destroy(), 5));
      hub.expire();
      return true;
    };
    await readRange(source, "a.bin", 0, 4);
    expect(await readRange(source, "a.bin", 5, 40_005)).toEqual(A.slice(5, 40_005));
    expect(hub.resolved.length).toBe(6);
  });

  it("is resolved again when its addresses expire by the clock", async () => {
    const { hub, source } = await open({ expiresMs: 300 });
    const until = performance.now() + 1000;
    let reads = 0;
    for (; performance.now() < until; reads++) {
      expect(await readRange(source, "a.bin", reads, reads + 9)).toEqual(A.slice(reads, reads + 9));
      await new Promise((later) => setTimeout(later, 10));
    }
    expect(hub.resolved.length).toBeGreaterThanOrEqual(3);
    expect(hub.resolved.length).toBeLessThanOrEqual(5);
    expect(hub.resolved.length).toBeLessThan(reads);
  });

  it.each([401, 403, 410])(
    "that answers %i at a new address too is a named error, after one more resolution",
    async (status) => {
      const { hub, source } = await open();
      await readRange(source, "a.bin", 0, 9);
      hub.instead = (_, response) => {
        response.writeHead(status).end();
        return true;
      };
      const code = status === 410 ? "not-found" : "http";
      await expect(readRange(source, "a.bin", 0, 9)).rejects.toMatchObject({ code });
      expect(hub.resolved.length).toBe(2);
      expect(hub.fetched.filter((line) => line.startsWith(String(status))).length).toBe(2);
      hub.instead = () => false;
      await readRange(source, "a.bin", 0, 9);
      expect(hub.resolved.length).toBe(3);
    },
  );

  it("is resolved again where its address no longer answers at all", async () => {
    const { hub, source } = await open();
    await readRange(source, "a.bin", 0, 9);
    let refused = 0;
    hub.instead = (_, response) => {
      if (refused++ > 0) return false;
      response.destroy();
      return true;
    };
    await readRange(source, "a.bin", 0, 9);
    expect(hub.resolved.length).toBe(2);
  });

  it("does not keep the others waiting where the first request for it is aborted or fails", async () => {
    const { hub, source } = await open();
    let held = 0;
    hub.instead = (_, response) => {
      if (held++ > 0) return false;
      response.on("close", () => {});
      return true; // never answered
    };
    const stop = new AbortController();
    const reason = new Error("enough");
    const first = readRange(source, "a.bin", 0, 9, stop.signal);
    const impatient = new AbortController();
    const second = readRange(source, "a.bin", 10, 19, impatient.signal);
    const third = readRange(source, "a.bin", 20, 29);
    setTimeout(() => impatient.abort(reason), 20);
    await expect(second).rejects.toBe(reason);
    stop.abort(reason);
    await expect(first).rejects.toBe(reason);
    expect(await third).toEqual(A.slice(20, 29));
    expect(hub.resolved.length).toBe(2);
  });

  it("is read as well where every header is hidden that may be", async () => {
    const { hub, source } = await open({ expose: [] });
    expect(await source.text("config.json")).toBe('{"seed":1}');
    for (let begin = 0; begin < 20; begin++)
      expect(await readRange(source, "a.bin", begin, begin + 9)).toEqual(A.slice(begin, begin + 9));
    expect(of(hub.resolved, "a.bin").length).toBe(1);
  });
});

describe("the revision", () => {
  it("is that of the first answer, though main moves on", async () => {
    const { hub, source } = await open();
    expect(await source.text("config.json")).toBe('{"seed":1}');
    hub.main = TWO;
    expect(await source.text("config.json")).toBe('{"seed":1}');
    expect(await readRange(source, "a.bin", 0, 9)).toEqual(A.slice(0, 9));
    hub.expire();
    expect(await readRange(source, "b.bin", 0, 9)).toEqual(commits[ONE]!["b.bin"].slice(0, 9));
    expect(await source.text("chat_template.jinja")).toBeUndefined();
    expect(hub.resolved.map((line) => line.split(" ")[0])).toEqual(["main", ONE, ONE, ONE, ONE]);
    expect(await httpSource(hub.url).text("config.json")).toBe('{"seed":2}');
  });

  it("is also that of an absent file, and a server that names none is left as it is", async () => {
    const { hub, source } = await open();
    await source.text("chat_template.jinja");
    await source.text("config.json");
    expect(hub.resolved[1]).toBe(`${ONE} config.json`);
    const hidden = await open({ expose: [] });
    for (let i = 0; i < 2; i++) await hidden.source.text("config.json");
    expect(hidden.hub.resolved).toEqual(["main config.json", "main config.json"]);
  });

  it("holds for all of a model that is opened", async () => {
    const { hub, source } = await open();
    const opened = await openFiles(source);
    expect([...opened.shards.get("model.safetensors")!.keys()]).toEqual(["x1"]);
    expect(of(hub.resolved, "model.safetensors bytes").length).toBe(1);
    expect(hub.resolved.filter((line) => line.startsWith("main")).length).toBe(1);
  });
});

describe("the limit of requests", () => {
  const expose = [...EXPOSED, "RateLimit"];

  it("is waited for: what comes after r=0 is asked when the window is over", async () => {
    const { hub, source } = await open({ expose, limit: { requests: 2, windowMs: 1000 } });
    const began = performance.now();
    for (const file of ["config.json", "chat_template.jinja", "config.json"]) await source.text(file);
    expect(performance.now() - began).toBeGreaterThan(900);
    expect(hub.resolved.length).toBe(3);
  });

  it("does not hold up ranges whose address is known", async () => {
    const { hub, source } = await open({ expose, limit: { requests: 2, windowMs: 60_000 } });
    await readRange(source, "a.bin", 0, 9);
    await source.text("config.json");
    for (let begin = 0; begin < 20; begin++) await readRange(source, "a.bin", begin, begin + 9);
    expect(hub.resolved.length).toBe(2);
    const stop = new AbortController();
    setTimeout(() => stop.abort(new Error("enough")), 50);
    await expect(source.text("config.json", stop.signal)).rejects.toThrow("enough");
    expect(hub.resolved.length).toBe(2);
  });

  it("that is spent already is waited for by what the refusal says", async () => {
    const { hub, source } = await open({ expose, limit: { requests: 1, windowMs: 1000 } });
    await httpSource(hub.url).text("config.json");
    expect(await source.text("config.json")).toBe('{"seed":1}');
    expect(hub.resolved.length).toBe(3);
  });

  it("that a page cannot see is waited for too, longer than a server in trouble", async () => {
    const { hub } = await open({ limit: { requests: 1, windowMs: 1000 } });
    const source = httpSource(hub.url, { fetch: pageFetch, retryDelayMs: 20 });
    for (let i = 0; i < 2; i++) expect(await source.text("config.json")).toBe('{"seed":1}');
    expect(hub.resolved.length).toBeGreaterThan(2);
  });

  it("lets a model of thousands of ranges be streamed", async () => {
    const { hub, source } = await open({ expose, limit: { requests: 30, windowMs: 300_000 } });
    for (let i = 0; i < 1500; i++) await readRange(source, i % 2 ? "a.bin" : "b.bin", i, i + 4);
    expect(hub.resolved.length).toBe(2);
    expect(hub.fetched.length).toBe(1500);
  });
});
