import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
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
