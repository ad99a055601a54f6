import "fake-indexeddb/auto";
import { join } from "node:path";
import { deleteDB, openDB } from "idb";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { openEngine } from "../../../src/engine/engine.ts";
import { openSource } from "../../../src/engine/open_source.ts";
import { deleteFrom, modelsIn } from "../../../src/engine/stored_models.ts";
import { createEngine, deleteModel, listModels } from "../../../src/index.ts";
import { openIndexedDbStore } from "../../../src/store/indexeddb.ts";
import { memoryStore } from "../../../src/store/memory.ts";
import golden from "../../fixtures/storyteller-moe/mlx-4bit/golden.json" with { type: "json" };
import { type Server, serve } from "../../support/serve.mjs";

const HELLO = golden.chats[0]!;
let server: Server;

beforeAll(async () => {
  server = await serve({ root: join(import.meta.dirname, "../../fixtures") });
});
afterAll(() => server.close());
afterEach(async () => {
  vi.restoreAllMocks();
  await deleteDB("mixtab");
});

const urlOf = (query = "", folder = "mlx-4bit") => `${server.origin}/storyteller-moe/${folder}/${query}`;

/** Opens a model as a page does, and waits until all of it is stored. */
async function keep(url: string) {
  let done = () => {};
  const filled = new Promise<void>((resolve) => {
    done = resolve;
  });
  const engine = await createEngine(url, { device: "cpu", onProgress: ({ phase }) => phase === "done" && done() });
  await filled;
  return engine;
}

test("what is stored is listed with its bytes, and deleted by the reference that opened it, alone", async () => {
  expect(await listModels()).toEqual([]);
  const one = await keep(urlOf("?v=1"));
  const bytes = one.info.denseBytes + one.info.expertBytes;
  await one.close();
  await (await keep(urlOf("?v=2"))).close();

  const listed = await listModels();
  expect(listed.map(({ name, complete, store }) => ({ name, complete, store }))).toEqual([
    { name: urlOf("?v=1"), complete: true, store: "indexeddb" },
    { name: urlOf("?v=2"), complete: true, store: "indexeddb" },
  ]);
  expect(listed[0]!.bytes).toBeGreaterThan(bytes); // and the manifest
  expect(listed[0]!.bytes).toBeLessThan(bytes * 1.5);
  expect(listed[0]!.revision).toMatch(/^[0-9a-f]{16}$/);

  expect(await deleteModel(urlOf("?v=1&token=secret"))).toBe(listed[0]!.bytes);
  expect(await listModels({ store: "indexeddb" })).toEqual([listed[1]]);
  expect(await deleteModel(urlOf("?v=1"))).toBe(0);
  expect(await deleteModel(listed[1]!.name, { store: "indexeddb" })).toBe(listed[1]!.bytes);
  expect(await listModels()).toEqual([]);
});

test("a model that is deleted under an engine goes on, and is loaded anew on the next visit", async () => {
  const engine = await keep(urlOf());
  await deleteModel(urlOf());
  const messages = HELLO.messages as never;
  const answer = await engine.chat.completions.create({ messages, temperature: 0, stream: false });
  expect(answer.choices[0]!.message.content).toBe(HELLO.text);
  await engine.close();
  await (await keep(urlOf())).close();
  expect(await listModels()).toMatchObject([{ complete: true }]);
});

test("recipes and halves are told apart, in any store", async () => {
  const store = memoryStore();
  const { source } = openSource(urlOf("", "hf"));
  const host = { id: "story", source, store };
  const full = await openEngine(host, { device: "cpu" });
  await new Promise<void>((done) => {
    void openEngine(host, { device: "cpu", quantize: "mlx", onProgress: ({ phase }) => phase === "done" && done() });
  });
  await full.close();
  for (const key of await store.keys("")) if (key.endsWith("auto-1/manifest")) await store.delete(key);
  await store.put("another program's", new Uint8Array(3));
  const models = await modelsIn(store);
  expect(models.map(({ recipe, complete }) => ({ recipe, complete }))).toEqual([
    { recipe: "auto-1", complete: false },
    { recipe: "mlx-1", complete: true },
  ]);
  const bytes = await deleteFrom(store, source.name);
  expect(bytes).toBe(models[0]!.bytes + models[1]!.bytes);
  expect(await store.keys("")).toEqual(["another program's"]);
});

test("records that the first builds of 0.1.0 left are deleted with their model", async () => {
  const store = await openIndexedDbStore();
  await store.put(`${urlOf()}@0123456789abcdef/v2/none/expert/0`, new Uint8Array(10));
  expect(await listModels()).toEqual([]);
  expect(await deleteModel(urlOf())).toBe(10);
  expect(await store.keys("")).toEqual([]);
  store.close();
});

test("a store that cannot be opened is the error store, and one that keeps nothing keeps nothing", async () => {
  (await openDB("mixtab", 7)).close();
  await expect(listModels()).rejects.toMatchObject({ code: "store" });
  await expect(deleteModel(urlOf())).rejects.toMatchObject({ code: "store" });
  await expect(listModels({ store: "opfs" })).rejects.toMatchObject({ code: "store" });
  expect(await listModels({ store: "memory" })).toEqual([]);
  expect(await deleteModel(urlOf(), { store: "memory" })).toBe(0);
  await expect(deleteModel("  ")).rejects.toMatchObject({ code: "bad-request" });
});
