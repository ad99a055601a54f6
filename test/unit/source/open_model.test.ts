import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { givenFiles } from "../../../src/source/given_files.ts";
import { httpSource } from "../../../src/source/http.ts";
import { openFiles } from "../../../src/source/open_model.ts";
import { serve, TestServer } from "./server.ts";

type Files = Record<string, Uint8Array<ArrayBuffer>>;

const INDEX = "model.safetensors.index.json";
const utf8 = (text: string) => new TextEncoder().encode(text);
const json = (value: unknown) => utf8(JSON.stringify(value));

function folder(path: string): Files {
  const at = fileURLToPath(new URL(`../../fixtures/${path}`, import.meta.url));
  return Object.fromEntries(readdirSync(at).map((name) => [name, new Uint8Array(readFileSync(`${at}/${name}`))]));
}

/** A safetensors file of u8 vectors by name. */
function shard(tensors: Record<string, number>): Uint8Array<ArrayBuffer> {
  let at = 0;
  const entries = Object.entries(tensors).map(([name, length]) => {
    const value = { dtype: "U8", shape: [length], data_offsets: [at, at + length] };
    at += length;
    return [name, value];
  });
  const header = json(Object.fromEntries(entries));
  const file = new Uint8Array(8 + header.length + at);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  return file;
}

const open = (files: Files) => openFiles(givenFiles(files));
const single = { "config.json": json({ a: 1 }), "model.safetensors": shard({ x: 3, y: 2 }) };

describe("openFiles", () => {
  it("reads the config and the tensors of a single file", async () => {
    const { config, shards } = await open(single);
    expect(config).toEqual({ a: 1 });
    expect([...shards.keys()]).toEqual(["model.safetensors"]);
    expect([...shards.get("model.safetensors")!.keys()]).toEqual(["x", "y"]);
  });

  it("reads a single file that has an index beside it, and one of another name that the index names", async () => {
    const { shards } = await open(folder("mlx/mixtral_q4g64"));
    expect([...shards.keys()]).toEqual(["model.safetensors"]);
    const odd = {
      "config.json": json({}),
      "weights.00.safetensors": shard({ x: 1 }),
      [INDEX]: json({ weight_map: { x: "weights.00.safetensors" } }),
    };
    expect([...(await open(odd)).shards.keys()]).toEqual(["weights.00.safetensors"]);
  });

  it("reads every file of a sharded model, each tensor where the index has it", async () => {
    const files = folder("mlx/mixtral_q4g64_sharded");
    const { weight_map: map } = JSON.parse(new TextDecoder().decode(files[INDEX])) as {
      weight_map: Record<string, string>;
    };
    const { shards } = await open(files);
    expect(shards.size).toBe(3);
    const where = [...shards].flatMap(([file, tensors]) => [...tensors.keys()].map((name) => [name, file]));
    expect(Object.fromEntries(where)).toEqual(map);
  });

  it("takes a tensor that lies in two files from the one that the index means, and one that it forgets", async () => {
    const files = {
      "config.json": json({}),
      "a.safetensors": shard({ x: 1, y: 1, z: 1 }),
      "b.safetensors": shard({ x: 1, y: 2 }),
      [INDEX]: json({ weight_map: { x: "a.safetensors", y: "b.safetensors" } }),
    };
    const { shards } = await open(files);
    expect([...shards].map(([file, tensors]) => [file, ...tensors.keys()])).toEqual([
      ["a.safetensors", "x", "z"],
      ["b.safetensors", "y"],
    ]);
  });

  it("gives a revision that changes with the config, a header or a file's name, and with nothing else", async () => {
    const revision = async (files: Files) => (await open(files)).revision;
    const original = await revision(single);
    expect(original).toMatch(/^[0-9a-f]{16}$/);
    const data = single["model.safetensors"].slice();
    data[data.length - 1] = 9;
    expect(await revision({ ...single, "model.safetensors": data, "tokenizer.json": json({}) })).toBe(original);
    const others = await Promise.all([
      revision({ ...single, "config.json": json({ a: 2 }) }),
      revision({ ...single, "model.safetensors": shard({ x: 2, y: 3 }) }),
      revision({
        "config.json": single["config.json"],
        "m.safetensors": single["model.safetensors"],
        [INDEX]: json({ weight_map: { x: "m.safetensors" } }),
      }),
    ]);
    expect(new Set([original, ...others]).size).toBe(4);
  });

  const two = { a: "1.safetensors", b: "2.safetensors" };
  it.each([
    ["no config", { "model.safetensors": single["model.safetensors"] }, "not-found", /no config\.json in memory/],
    ["a config that is not JSON", { ...single, "config.json": utf8("{,") }, "bad-json", /config\.json.*not JSON/],
    [
      "a page for a config",
      { ...single, "config.json": utf8("\n<!doctype html>") },
      "bad-json",
      /config\.json.*HTML page/,
    ],
    ["a page for an index", { ...single, [INDEX]: utf8("<html>") }, "bad-json", /index\.json.*HTML page/],
    ["no weights", { "config.json": json({}) }, "not-found", /neither .*index\.json nor model\.safetensors/],
    [
      "a missing shard",
      { "config.json": json({}), "1.safetensors": shard({ a: 1 }), [INDEX]: json({ weight_map: two }) },
      "missing-shard",
      /names 2\.safetensors/,
    ],
    ["an index without files", { ...single, [INDEX]: json({ weight_map: {} }) }, "bad-json", /names 0 files/],
    ["an index without weight_map", { ...single, [INDEX]: json([]) }, "bad-json", /names 0 files/],
    ["an index that is null", { ...single, [INDEX]: json(null) }, "bad-json", /names 0 files/],
    ["a weight_map of text", { ...single, [INDEX]: json({ weight_map: "ab" }) }, "bad-json", /names 0 files/],
    [
      "an index that leads up",
      { ...single, [INDEX]: json({ weight_map: { a: "../x" } }) },
      "bad-json",
      /"\.\.\/x", which is no file name/,
    ],
    [
      "an index that leads away",
      { ...single, [INDEX]: json({ weight_map: { a: "https://evil/x" } }) },
      "bad-json",
      /no file name/,
    ],
    [
      "an index that names a number",
      { ...single, [INDEX]: json({ weight_map: { a: 1 } }) },
      "bad-json",
      /no file name/,
    ],
    [
      "a damaged header",
      { ...single, "model.safetensors": utf8("12345678{}") },
      "bad-safetensors",
      /^model\.safetensors: .*header length/,
    ],
    [
      "a file cut short",
      { ...single, "model.safetensors": single["model.safetensors"].slice(0, -1) },
      "bad-safetensors",
      /^model\.safetensors: .*"y"/,
    ],
    [
      "a file of three bytes",
      { ...single, "model.safetensors": new Uint8Array(3) },
      "no-range",
      /model\.safetensors has 3 bytes/,
    ],
  ] as [string, Files, string, RegExp][])("refuses %s", async (_, files, code, message) => {
    await expect(open(files)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});

describe("openFiles over http", () => {
  const server = new TestServer();
  beforeAll(() => server.start());
  afterAll(() => server.stop());
  beforeEach(() => {
    server.requests.length = 0;
  });

  it("costs two requests for each file, and finds the same", async () => {
    const files = folder("mlx/mixtral_q4g64_sharded");
    server.handler = serve(files);
    const opened = await openFiles(httpSource(server.url));
    const { config, shards } = await open(files);
    expect(opened).toMatchObject({ config, shards });
    expect(server.requests.filter((request) => request.includes(".safetensors bytes")).length).toBe(6);
    expect(server.requests.length).toBe(8);
  });

  it("opens a model from a single-page server, whose page is no index", async () => {
    server.handler = (request, response) => {
      const found = single[request.url!.slice(1) as keyof typeof single];
      if (found) return serve(single)(request, response);
      response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html>");
    };
    expect((await openFiles(httpSource(server.url))).shards.size).toBe(1);
  });

  it("opens a model from a bucket that answers 403 for what is not there", async () => {
    server.handler = (request, response) =>
      request.url!.slice(1) in single ? serve(single)(request, response) : response.writeHead(403).end();
    expect((await openFiles(httpSource(server.url))).shards.size).toBe(1);
  });

  it.each(["config.json", "model.safetensors"])(
    "says of %s that is refused: not there, or not allowed",
    async (file) => {
      server.handler = (request, response) =>
        request.url === `/${file}` || request.url!.endsWith(INDEX)
          ? response.writeHead(403).end()
          : serve(single)(request, response);
      await expect(openFiles(httpSource(server.url))).rejects.toMatchObject({
        code: "http",
        message: expect.stringMatching(`403 for ${file}.*not there, or may not be read`),
      });
    },
  );

  it("names a missing shard, and leaves no request running", async () => {
    const files = folder("mlx/mixtral_q4g64_sharded");
    let held = 0;
    server.handler = (request, response) => {
      if (request.url!.includes("-00002-")) return void response.writeHead(404).end();
      if (!request.url!.includes("-00003-")) return serve(files)(request, response);
      held++; // never answered
      response.on("close", () => held--);
    };
    await expect(openFiles(httpSource(server.url))).rejects.toMatchObject({
      code: "missing-shard",
      message: expect.stringContaining("model-00002-of-00003.safetensors"),
    });
    await expect.poll(() => held).toBe(0);
  });

  it("an abort ends it with the signal's reason", async () => {
    const files = folder("mlx/mixtral_q4g64_sharded");
    const reason = new Error("enough");
    const stop = new AbortController();
    server.handler = (request, response) => {
      if (request.headers.range) stop.abort(reason);
      else serve(files)(request, response);
    };
    await expect(openFiles(httpSource(server.url), stop.signal)).rejects.toBe(reason);
  });
});
