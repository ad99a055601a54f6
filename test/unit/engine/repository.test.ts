import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { MixtabError } from "../../../src/base/errors.ts";
import { keysIn, keysOf, readKey } from "../../../src/engine/keys.ts";
import { openRepository } from "../../../src/engine/repository.ts";
import { givenFiles } from "../../../src/source/given_files.ts";
import { modelName } from "../../../src/source/model_name.ts";
import type { Source } from "../../../src/source/source.ts";
import { memoryStore } from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";

const RUNS = { seed: 20261127, numRuns: 300 };

const FOLDER = join(import.meta.dirname, "../../fixtures/storyteller-moe/mlx-4bit");
const FILES = Object.fromEntries(
  readdirSync(FOLDER).map((file) => [file, new Uint8Array(readFileSync(join(FOLDER, file)))]),
);
const utf8 = (text: string) => new TextEncoder().encode(text);

/** The story model under another name, some files of it changed. */
const named = (name: string, changed: Record<string, Uint8Array<ArrayBuffer>> = {}): Source => ({
  ...givenFiles({ ...FILES, ...changed }),
  name,
  remote: true,
});

/** A first visit that stores one record and the manifest. */
async function keep(source: Source, store: Store) {
  const repository = await openRepository(source, store, "none");
  await store.put(`${repository.prefix}expert/0`, utf8(source.name));
  await repository.finish();
  return repository;
}

/** URLs that are often near each other: of few folders, with the marks of our keys in them. */
const url = fc
  .record({
    origin: fc.constantFrom("https://cdn.example", "https://cdn.example:8443", "http://cdn.example"),
    path: fc.array(fc.constantFrom("", "@", "@scope", "a", "%40", "%2F", "a@0123456789abcdef", "v2", "none"), {
      maxLength: 4,
    }),
    query: fc.array(fc.constantFrom("v=1", "v=2", "a/@b", "%2540", "x"), { maxLength: 2 }),
  })
  .map(({ origin, path, query }) => modelName(new URL(`${origin}/${path.join("/")}/?${query.join("&")}`)));

test("no model's keys are a prefix of another's, and a key says whose it is", () => {
  const property = fc.property(url, url, fc.string({ minLength: 1 }), (one, other, revision) => {
    expect(keysOf(one).startsWith(keysOf(other))).toBe(one === other);
    expect(readKey(`${keysIn(one, revision, "auto-1")}dense/a@b/0`)).toEqual({
      name: one,
      revision,
      recipe: "auto-1",
      record: "dense/a@b/0",
    });
  });
  fc.assert(property, RUNS);
  const any = fc.property(fc.string({ minLength: 1, unit: "binary" }), fc.string({ minLength: 1 }), (one, other) => {
    expect(keysOf(one).startsWith(keysOf(other))).toBe(one === other);
    expect(readKey(`${keysIn(one, other, "none")}manifest`)).toMatchObject({ name: one, revision: other });
  });
  fc.assert(any, RUNS);
});

test("of two models, opening one neither reads nor deletes what the other has stored", async () => {
  const other = {
    "config.json": utf8(JSON.stringify({ ...JSON.parse(new TextDecoder().decode(FILES["config.json"])), b: 1 })),
  };
  const property = fc.asyncProperty(url, url, async (a, b) => {
    fc.pre(a !== b);
    const store = memoryStore();
    await keep(named(a), store);
    const before = await store.keys("");
    expect((await openRepository(named(b, other), store, "none")).complete).toBe(false);
    expect(await store.keys("")).toEqual(before);
    await keep(named(b, other), store);
    expect((await openRepository(named(a), store, "none")).complete).toBe(true);
    expect((await openRepository(named(b, other), store, "none")).config).toMatchObject({ b: 1 });
  });
  await fc.assert(property, { ...RUNS, numRuns: 60 });
});

test("records under the first builds' keys are deleted, those of a folder below are not", async () => {
  const store = memoryStore();
  const old = "https://cdn.example/@0123456789abcdef/v2/none/expert/3";
  const below = "https://cdn.example/@scope/@0123456789abcdef/v2/none/expert/3";
  for (const key of [old, below]) await store.put(key, utf8("x"));
  await keep(named("https://cdn.example/?v=1"), store);
  const keys = await store.keys("https:/");
  expect(keys).toEqual([below]);
});

test("another revision takes the place of the stored one", async () => {
  const store = memoryStore();
  const { prefix } = await keep(named("https://cdn.example/m/"), store);
  const config = { ...JSON.parse(new TextDecoder().decode(FILES["config.json"])), b: 1 };
  const next = await keep(named("https://cdn.example/m/", { "config.json": utf8(JSON.stringify(config)) }), store);
  expect(next.prefix).not.toBe(prefix);
  expect(await store.keys(prefix)).toEqual([]);
  expect((await store.keys(next.prefix)).length).toBe(2);
});

const TEMPLATE = "chat_template.jinja";
const without = (...files: string[]) =>
  Object.fromEntries(Object.entries(FILES).filter(([file]) => !files.includes(file)));

/** A store that an earlier visit filled from these files. */
async function visited(files: Record<string, Uint8Array<ArrayBuffer>>): Promise<Store> {
  const store = memoryStore();
  await keep({ ...givenFiles(files), name: "m", remote: true }, store);
  return store;
}

/** A second visit to these files; `answer` may answer otherwise. */
async function revisit(
  store: Store,
  files: Record<string, Uint8Array<ArrayBuffer>>,
  answer: (file: string, text: Source["text"]) => Promise<string | undefined> = (file, text) => text(file),
) {
  const given = givenFiles(files);
  const asked: string[] = [];
  const text: Source["text"] = (file) => {
    asked.push(file);
    return answer(file, given.text);
  };
  const refuse = () => expect.unreachable("a second visit asks for no weights");
  const source: Source = { ...given, name: "m", remote: true, text, read: refuse, size: refuse };
  return { repository: await openRepository(source, store, "none"), asked };
}

const offline = () => Promise.reject(new MixtabError("network", "There is no network."));

test("texts that were added, changed or removed since the first visit count on the next, and are stored", async () => {
  const files = without(TEMPLATE);
  const store = await visited(files);
  const added = { ...files, [TEMPLATE]: utf8("first"), "generation_config.json": utf8('{"temperature": 0.5}') };
  const { repository } = await revisit(store, added);
  expect(repository.texts).toMatchObject({ [TEMPLATE]: "first", "generation_config.json": '{"temperature": 0.5}' });
  expect([repository.complete, repository.revised]).toEqual([true, true]);
  await repository.finish();
  expect((await revisit(store, added)).repository.revised).toBe(false);
  expect((await revisit(store, added, offline)).repository.texts).toEqual(repository.texts);

  const { "generation_config.json": _, ...removed } = added;
  const next = (await revisit(store, { ...removed, [TEMPLATE]: utf8("second") })).repository;
  expect(next.texts[TEMPLATE]).toBe("second");
  expect(next.texts["generation_config.json"]).toBeUndefined();
  expect(next.prefix).toBe(repository.prefix);
});

test("on a second visit all texts are asked for at once, and nothing else", async () => {
  const store = await visited(FILES);
  let waiting = 0;
  let release = () => {};
  const all = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { asked } = await revisit(store, FILES, async (file, text) => {
    if (++waiting === 5) release();
    await all;
    return await text(file);
  });
  expect(asked.sort()).toEqual([
    TEMPLATE,
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
  ]);
});

test.each<[string, Parameters<typeof revisit>[2]]>([
  ["there is no network", offline],
  ["the server is in trouble", () => Promise.reject(new MixtabError("http", "The server answered 500."))],
  ["the server has lost everything", async () => undefined],
  ["the texts alone cannot be had", (file, text) => (file === "config.json" ? text(file) : offline())],
  ["the tokenizer is gone", async (file, text) => (file === "tokenizer.json" ? undefined : await text(file))],
  [
    "a text is cut short",
    async (file, text) => (await text(file))?.slice(0, file.startsWith("tokenizer") ? 99 : undefined),
  ],
])("where %s, a second visit opens what is stored", async (_, answer) => {
  const store = await visited(FILES);
  const first = (await revisit(store, FILES)).repository;
  const { repository } = await revisit(store, FILES, answer);
  expect(repository.texts).toEqual(first.texts);
  expect([repository.complete, repository.revised]).toEqual([true, false]);
});

test("an aborted second visit rejects with the signal's reason", async () => {
  const store = await visited(FILES);
  const source = { ...named("m"), text: offline };
  const reason = new Error("enough");
  await expect(openRepository(source, store, "none", AbortSignal.abort(reason))).rejects.toBe(reason);
});

test("a stored model does not wait for a server that makes it wait", async () => {
  const store = memoryStore();
  await keep(named("https://busy.example/m/"), store);
  const text = (_: string, signal?: AbortSignal) =>
    new Promise<never>((_resolve, reject) => {
      const stop = () => reject(signal?.reason);
      if (signal?.aborted) stop();
      signal?.addEventListener("abort", stop);
    });
  const busy: Source = { ...named("https://busy.example/m/"), text };
  const { complete, texts } = await openRepository(busy, store, "none", undefined, 20);
  expect(complete).toBe(true);
  expect(texts["tokenizer.json"]).toContain("model");
  const stopped = AbortSignal.abort(new Error("the user stopped"));
  await expect(openRepository(busy, store, "none", stopped, 20)).rejects.toThrow("the user stopped");
});
