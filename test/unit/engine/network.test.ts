import { readdirSync, readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { afterEach, beforeAll, expect, test } from "vitest";
import { MixtabError } from "../../../src/base/errors.ts";
import type { Engine, Progress } from "../../../src/engine/api.ts";
import { openEngine } from "../../../src/engine/engine.ts";
import { parseSafetensorsHeader } from "../../../src/format/safetensors.ts";
import { givenFiles } from "../../../src/source/given_files.ts";
import { type HttpOptions, httpSource } from "../../../src/source/http.ts";
import { sleep } from "../../../src/source/sleep.ts";
import { Waits } from "../../../src/source/waits.ts";
import { type MemoryRecord, memoryStore } from "../../../src/store/memory.ts";
import { FakeHub, pageFetch } from "../../support/fake_hub.ts";
import { numbers } from "../../support/toy_model.ts";
import { type Handler, TestServer } from "../source/server.ts";

const WEIGHTS = "model.safetensors";
const FOLDER = join(import.meta.dirname, "../../fixtures/storyteller-moe/mlx-4bit");
const ONE = Object.fromEntries(
  readdirSync(FOLDER).map((file) => [file, new Uint8Array(readFileSync(join(FOLDER, file)))]),
);
/** The same shapes, other experts: their 4-bit numbers are reversed. */
const TWO = { ...ONE, [WEIGHTS]: otherExperts(ONE[WEIGHTS]!) };

function otherExperts(file: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const other = file.slice();
  const header = file.subarray(0, 8 + Number(new DataView(file.buffer).getBigUint64(0, true)));
  for (const [name, { begin, end }] of parseSafetensorsHeader(header, file.length).tensors)
    if (/experts|switch_mlp/.test(name) && name.endsWith(".weight"))
      for (let at = begin; at < end; at++) other[at]! ^= 0xff;
  return other;
}

const QUESTION = { messages: [{ role: "user", content: "Hello!" }], temperature: 0, max_tokens: 3 } as const;
const ask = async (engine: Engine): Promise<string> =>
  (await engine.chat.completions.create(QUESTION)).choices[0]!.message.content;
/** What each version answers. */
const answers: string[] = [];
const open: (() => Promise<void>)[] = [];

beforeAll(async () => {
  for (const files of [ONE, TWO]) {
    const engine = await openEngine({ id: "m", source: givenFiles(files) }, { device: "cpu" });
    answers.push(await ask(engine));
    await engine.close();
  }
  expect(answers[0]).not.toBe(answers[1]);
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** A server of a version of the model that shows its ETag; requests for its weights may be answered otherwise. */
async function serveModel() {
  const server = new TestServer();
  const state = {
    server,
    files: ONE as Record<string, Uint8Array>,
    /** The validator of what is served; null: hidden. */
    etag: () => (state.files === ONE ? '"one"' : '"two"') as string | null,
    instead: (() => false) as (response: ServerResponse, range: string | undefined) => boolean,
    /** Ranges of the weights so far. */
    ranges: () => server.requests.flatMap((line) => /bytes=(\d+)-(\d+)/.exec(line)?.slice(1).map(Number) ?? []),
  };
  const handler: Handler = (request, response) => {
    const file = request.url!.split("/").at(-1)!;
    if (file === WEIGHTS && state.instead(response, request.headers.range)) return;
    const bytes = state.files[file];
    if (!bytes) return void response.writeHead(404).end();
    const etag = state.etag();
    if (etag !== null && file === WEIGHTS) response.setHeader("ETag", etag);
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    if (first === undefined)
      return void response
        .writeHead(200, { "Content-Length": bytes.length })
        .end(request.method === "HEAD" ? "" : bytes);
    const [begin, end] = [Number(first), Number(last) + 1];
    response.writeHead(206, {
      "Content-Length": end - begin,
      "Content-Range": `bytes ${begin}-${end - 1}/${bytes.length}`,
    });
    response.end(bytes.subarray(begin, end));
  };
  server.handler = handler;
  await server.start();
  open.push(() => server.stop());
  return state;
}

/** Opens the model; `until` waits for an event of progress, past ones included. */
async function visit(url: string, records = new Map<string, MemoryRecord>(), options: HttpOptions = {}) {
  const progress: Progress[] = [];
  let heard = () => {};
  const onProgress = (event: Progress) => {
    progress.push(event);
    heard();
  };
  const until = async (is: (event: Progress) => unknown): Promise<Progress> => {
    for (;;) {
      const found = progress.find(is);
      if (found) return found;
      await new Promise<void>((resolve) => {
        heard = resolve;
      });
    }
  };
  const source = httpSource(url, { retryDelayMs: 1, ...options });
  const engine = await openEngine({ id: "m", source, store: memoryStore(records) }, { device: "cpu", onProgress });
  open.push(() => engine.close());
  const done = () => until(({ phase }) => phase === "done");
  return { engine, progress, until, done, warnings: () => progress.flatMap(({ warning }) => warning ?? []) };
}

/** Waits that last until they are cut short. */
function patience() {
  const asked: number[] = [];
  const waits = new Waits((ms, signal) => {
    asked.push(ms);
    return ms < 500
      ? sleep(0, signal)
      : new Promise((_, reject) => {
          signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
        });
  });
  return { asked, waits };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));
const busy =
  (status: number, headers = {}) =>
  (response: ServerResponse) => {
    response.writeHead(status, headers).end();
    return true;
  };

test("a question that is asked during the first fill: no byte of the weights is asked for twice", async () => {
  const count = async (question: boolean) => {
    const { server, ranges } = await serveModel();
    const { engine, done } = await visit(server.url);
    if (question) expect(await ask(engine)).toBe(answers[0]);
    await done();
    const all = ranges();
    const spans = Array.from({ length: all.length / 2 }, (_, i) => [all[2 * i]!, all[2 * i + 1]!] as const);
    return spans.sort(([a], [b]) => a - b);
  };
  const [alone, asked] = [await count(false), await count(true)];
  for (const spans of [alone, asked])
    for (const [index, [begin]] of spans.slice(1).entries()) expect(begin).toBeGreaterThan(spans[index]![1]);
  expect(asked.length).toBeLessThanOrEqual(2 * alone.length);
});

test.each<[string, (response: ServerResponse) => boolean, RegExp, number[]]>([
  ["the server is busy", busy(503), /503/, [1000, 2000, 4000]],
  ["there were too many requests", busy(429, { "Retry-After": "7" }), /429/, [7000]],
  ["the network is gone", (response) => Boolean(response.destroy()), /no answer/, [1000, 2000, 4000]],
])(
  "where %s, the fill waits, says why and until when, and goes on when told to",
  async (_, outage, reason, expected) => {
    const state = await serveModel();
    const { asked, waits } = patience();
    let isOut = false;
    state.instead = (response) => isOut && outage(response);
    const { engine, until, done, progress } = await visit(state.server.url, new Map(), { waits });
    isOut = true; // the fill has just begun
    const waiting = (await until((event) => event.waiting)).waiting!;
    expect(waiting.reason).toMatch(reason);
    expect(waiting.nextTryMs).toBeGreaterThan(500);
    expect(waiting.nextTryMs).toBeLessThanOrEqual(60_000);
    const trying = setInterval(() => void engine.tryNow(), 5);
    while (!expected.every((ms) => asked.includes(ms))) await settled();
    isOut = false;
    await done();
    clearInterval(trying);
    expect(Math.max(...asked)).toBeLessThanOrEqual(60_000);
    expect(progress.at(-1)!.waiting).toBeUndefined();
    expect(progress.at(-1)!.warning).toBeUndefined();
  },
);

test("where the weights are gone for good, the fill ends with a warning", async () => {
  const state = await serveModel();
  const { until } = await visit(state.server.url);
  state.instead = busy(404);
  expect((await until(({ warning }) => warning)).warning).toMatch(/background download stopped.*model.safetensors/);
});

/** Which version's records a store holds: they are compared with those of whole visits. */
async function versionsIn(records: ReadonlyMap<string, MemoryRecord>): Promise<Set<string>> {
  const found = new Set<string>();
  for (const [key, { sha256 }] of records) {
    const [, name] = /\/(expert\/.*)$/.exec(key) ?? [];
    if (name) found.add(["one", "two"].find((version) => kept.get(version)!.get(name) === sha256) ?? "mixed");
  }
  return found;
}

/** By version and record, the hash of a visit that nothing disturbed. */
const kept = new Map<string, Map<string, string>>();
beforeAll(async () => {
  for (const [version, files] of Object.entries({ one: ONE, two: TWO })) {
    const records = new Map<string, MemoryRecord>();
    const source = { ...givenFiles(files), name: version, remote: true };
    await new Promise<void>((done, failed) => {
      const onProgress = ({ phase }: Progress) => phase === "done" && done();
      openEngine({ id: "m", source, store: memoryStore(records) }, { device: "cpu", onProgress }).then(
        (engine) => open.push(() => engine.close()),
        failed,
      );
    });
    const experts = [...records].filter(([key]) => key.includes("/expert/"));
    kept.set(version, new Map(experts.map(([key, { sha256 }]) => [key.slice(key.indexOf("expert/")), sha256])));
  }
});

const CHANGED = /changed on the server.*loaded anew|deleted, and the model is loaded anew/;

test("weights that change while the model is loaded: it is loaded anew, and the user is told", async () => {
  const state = await serveModel();
  let ranges = 0;
  state.instead = () => {
    if (++ranges === 5) state.files = TWO;
    return false;
  };
  const records = new Map<string, MemoryRecord>();
  const { engine, done, warnings } = await visit(state.server.url, records);
  await done();
  expect(await ask(engine)).toBe(answers[1]);
  expect(warnings()).toEqual([expect.stringMatching(CHANGED)]);
  expect(await versionsIn(records)).toEqual(new Set(["two"]));
});

test("weights that change during the fill: what was kept is deleted, and the next answer is the new version's", async () => {
  const state = await serveModel();
  const records = new Map<string, MemoryRecord>();
  const { engine, done, warnings, progress } = await visit(state.server.url, records);
  state.files = TWO;
  await done();
  expect(await ask(engine)).toBe(answers[1]);
  expect(await versionsIn(records)).toEqual(new Set(["two"]));
  expect(warnings()).toEqual([expect.stringMatching(CHANGED)]);
  expect(progress.at(-1)).toMatchObject({ phase: "done" });
});

test("weights that change in mid-answer: what was shown already ends with changed, what was not is made again", async () => {
  const state = await serveModel();
  const failing = memoryStore();
  const put: typeof failing.put = async (key, bytes) => {
    if (key.includes("/expert/")) throw new MixtabError("quota", "Full."); // so that experts are fetched in mid-answer
    await failing.put(key, bytes);
  };
  const source = httpSource(state.server.url, { retryDelayMs: 1 });
  const options = { device: "cpu", budgetBytes: 130_000 } as const;
  const engine = await openEngine({ id: "m", source, store: { ...failing, put } }, options);
  open.push(() => engine.close());
  const stream = await engine.chat.completions.create({ ...QUESTION, max_tokens: 12, stream: true });
  const read = async () => {
    for await (const { choices } of stream) if (choices[0]?.delta.content) state.files = TWO;
  };
  await expect(read()).rejects.toMatchObject({ code: "changed" });
  expect(await ask(engine)).toBe(answers[1]);
  state.files = ONE;
  await expect(ask(engine)).rejects.toMatchObject({ code: "changed" });
  await expect(ask(engine)).rejects.toMatchObject({ code: "changed" });
});

test("files that change a second time while they are loaded are the error changed", async () => {
  const state = await serveModel();
  let requests = 0;
  state.etag = () => `"${requests >> 2}"`;
  state.instead = () => {
    requests++;
    return false;
  };
  await expect(visit(state.server.url)).rejects.toMatchObject({ code: "changed" });
});

test("stopped at half, other weights of the same shapes, opened again: only the new ones, and it is said", async () => {
  const state = await serveModel();
  const records = new Map<string, MemoryRecord>();
  let ranges = 0;
  state.instead = (response) => ++ranges > 75 && busy(503)(response); // all are about 110
  const first = await visit(state.server.url, records, { waits: patience().waits });
  await first.until(({ waiting }) => waiting);
  await first.engine.close();
  state.instead = () => false;
  const half = [...records.keys()].filter((key) => key.includes("/expert/")).length;
  expect(half).toBeGreaterThan(0);
  expect(half).toBeLessThan(40);
  state.files = TWO;
  const second = await visit(state.server.url, records);
  expect(await ask(second.engine)).toBe(answers[1]);
  await second.done();
  expect(await versionsIn(records)).toEqual(new Set(["two"]));
  expect(second.warnings()).toEqual([expect.stringMatching(CHANGED)]);
});

test("weights that changed behind the same config.json since a whole visit are loaded anew; offline they are as stored", async () => {
  const state = await serveModel();
  const records = new Map<string, MemoryRecord>();
  const first = await visit(state.server.url, records);
  await first.done();
  await first.engine.close();
  const before = new Map(records);
  state.files = TWO;
  state.instead = busy(503);
  const offline = await visit(state.server.url, new Map(before));
  expect(await ask(offline.engine)).toBe(answers[0]);
  state.instead = () => false;
  const second = await visit(state.server.url, records);
  expect(await ask(second.engine)).toBe(answers[1]);
  await second.done();
  expect(await versionsIn(records)).toEqual(new Set(["two"]));
  expect(second.warnings()).toEqual([expect.stringMatching(CHANGED)]);
});

test("on the Hub the commit is the version: another one is loaded anew, the same one asks for no weights", async () => {
  const [one, two] = ["1".repeat(40), "2".repeat(40)];
  const hub = await new FakeHub({ commits: { [one]: ONE, [two]: TWO }, main: one }).start();
  open.push(() => hub.stop());
  const records = new Map<string, MemoryRecord>();
  const first = await visit(hub.url, records, { fetch: pageFetch });
  await first.done();
  await first.engine.close();
  const weights = () => [...hub.resolved, ...hub.fetched].filter((line) => line.includes(WEIGHTS)).length;
  const asked = weights();
  const same = await visit(hub.url, records, { fetch: pageFetch });
  await same.done();
  await same.engine.close();
  expect(weights()).toBe(asked);
  hub.main = two;
  const third = await visit(hub.url, records, { fetch: pageFetch });
  await third.done();
  expect(await ask(third.engine)).toBe(answers[1]);
  expect(await versionsIn(records)).toEqual(new Set(["two"]));
  expect([first, same].map(({ warnings }) => warnings())).toEqual([[], []]);
  expect(third.warnings()).toEqual([expect.stringMatching(CHANGED)]);
});

test("a server that shows no validators is judged by length, and that is said", async () => {
  const state = await serveModel();
  state.etag = () => null;
  const { warnings, done } = await visit(state.server.url);
  await done();
  expect(warnings()).toEqual([expect.stringMatching(/neither ETag nor Last-Modified of model.safetensors.*length/)]);
});

test("changes, cuts, stalls and busy answers at random: one version's answer or a named error, never a mixture", async () => {
  const random = numbers(20261127);
  const chance = (share: number) => (random() + 1) / 2 < share;
  const patient = () => new Waits((_, signal) => sleep(0, signal));
  const ends = { answers: 0, errors: 0 };
  const records = new Map<string, MemoryRecord>();
  const state = await serveModel();
  const others = open.length;
  for (let round = 0; round < 6; round++) {
    let stalls = 1;
    state.instead = (response, range) => {
      if (chance(0.015)) state.files = state.files === ONE ? TWO : ONE;
      if (chance(0.03)) return busy([429, 500, 503, 522][round & 3]!, { "Retry-After": "1" })(response);
      if (chance(0.02) && stalls-- > 0) return true; // never answered
      if (!range || !chance(0.05)) return false;
      const [begin, last] = range.slice("bytes=".length).split("-").map(Number) as [number, number];
      const bytes = state.files[WEIGHTS]!;
      const headers = { "Content-Range": `bytes ${begin}-${last}/${bytes.length}`, "Content-Length": last - begin + 1 };
      response.writeHead(206, { ...headers, ETag: state.etag()! });
      response.write(bytes.subarray(begin, begin + ((last - begin) >> 1)), () => response.destroy());
      return true;
    };
    const options = { waits: patient(), stallMs: 400 };
    try {
      const { engine } = await visit(state.server.url, records, options);
      expect(answers).toContain(await ask(engine));
      if (chance(0.5)) await engine.close();
      ends.answers++;
    } catch (error) {
      if (!(error instanceof MixtabError)) throw error;
      expect(["changed", "network", "http"]).toContain(error.code);
      ends.errors++;
    }
    for (const close of open.splice(others).reverse()) await close();
    const versions = await versionsIn(records);
    expect(versions, `round ${round}`).not.toContain("mixed");
    expect(versions.size, `round ${round}`).toBeLessThanOrEqual(1);
  }
  expect(ends.answers).toBeGreaterThan(0);
});
