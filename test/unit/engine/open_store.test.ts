import "fake-indexeddb/auto";
import { join } from "node:path";
import { deleteDB, openDB } from "idb";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import type { EngineOptions, Progress } from "../../../src/engine/api.ts";
import { openEngine } from "../../../src/engine/engine.ts";
import { httpSource } from "../../../src/source/http.ts";
import { storeError } from "../../../src/store/errors.ts";
import { openIndexedDbStore } from "../../../src/store/indexeddb.ts";
import { memoryStore } from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";
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
  vi.unstubAllGlobals();
  server.clear();
  await deleteDB("mixtab");
});

/** Opens the story model, waits until its fill has ended, and asks it; what was told meanwhile. */
async function visit(options: EngineOptions = {}, store?: Store) {
  const progress: Progress[] = [];
  const source = httpSource(`${server.origin}/storyteller-moe/mlx-4bit/`, { retryDelayMs: 1 });
  let done = () => {};
  const filled = new Promise<void>((resolve) => {
    done = resolve;
  });
  const onProgress = (event: Progress) => {
    progress.push(event);
    if (event.phase === "done") done();
  };
  const engine = await openEngine({ id: "story", source, store }, { device: "cpu", ...options, onProgress });
  try {
    await filled;
    const messages = HELLO.messages as never;
    const answer = await engine.chat.completions.create({ messages, temperature: 0, stream: false });
    expect(answer.choices[0]!.message.content).toBe(HELLO.text);
  } finally {
    await engine.close();
  }
  return { progress, warnings: progress.flatMap(({ warning }) => warning ?? []) };
}

test("a database that works is used, without a word", async () => {
  expect((await visit()).warnings).toEqual([]);
  const store = await openIndexedDbStore();
  expect((await store.keys("")).length).toBeGreaterThan(40);
  store.close();
});

test.each<[string, EngineOptions["store"], () => unknown]>([
  [
    "indexedDB.open throws, as in a sandboxed frame",
    undefined,
    () =>
      vi.spyOn(indexedDB, "open").mockImplementation(() => {
        throw new DOMException("access is denied here", "SecurityError");
      }),
  ],
  [
    "indexedDB.open throws, and it was named",
    "indexeddb",
    () =>
      vi.spyOn(indexedDB, "open").mockImplementation(() => {
        throw new DOMException("access is denied here", "SecurityError");
      }),
  ],
  [
    "indexedDB itself may not be looked at",
    undefined,
    () =>
      Object.defineProperty(globalThis, "indexedDB", {
        configurable: true,
        get() {
          throw new DOMException("access is denied here", "SecurityError");
        },
      }),
  ],
  ["opening rejects, for a newer version", undefined, async () => (await openDB("mixtab", 7)).close()],
  ["a database of that name lacks its object store", undefined, async () => (await openDB("mixtab", 1)).close()],
  ["there is no private file system", "opfs", () => {}],
  [
    "the private file system refuses",
    "opfs",
    () => {
      vi.stubGlobal(
        "FileSystemFileHandle",
        class {
          move() {}
        },
      );
      vi.stubGlobal("navigator", {
        storage: { getDirectory: () => Promise.reject(new DOMException("not here", "SecurityError")) },
      });
    },
  ],
])("where %s, the model goes on in memory, with a note", async (_, store, forbid) => {
  const kept = Object.getOwnPropertyDescriptor(globalThis, "indexedDB")!;
  await forbid();
  try {
    const { warnings } = await visit(store ? { store } : {});
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("kept in memory instead");
  } finally {
    Object.defineProperty(globalThis, "indexedDB", kept);
  }
});

test("where locks are forbidden, as in a sandboxed frame, the fill goes on without", async () => {
  vi.stubGlobal("navigator", {
    locks: { request: () => Promise.reject(new DOMException("access is denied here", "SecurityError")) },
  });
  expect((await visit({}, memoryStore())).warnings).toEqual([]);
});

test.each(["read", "keys", "delete"] as const)(
  "a store whose %s fails costs a note and not the model",
  async (verb) => {
    await visit();
    const broken: Store = {
      read: (...request) => again.read(...request),
      put: (...request) => again.put(...request),
      keys: (...request) => again.keys(...request),
      sizes: (...request) => again.sizes(...request),
      delete: (...request) => again.delete(...request),
      doubt: () => again.doubt(),
      close: () => again.close(),
    };
    const again = await openIndexedDbStore();
    for (const key of await again.keys("")) if (key.endsWith("/manifest")) await again.delete(key);
    const refusal = Object.assign(new Error("no"), { name: "UnknownError" });
    broken[verb] = async () => {
      throw storeError("database", refusal);
    };
    const { warnings } = await visit({}, broken);
    if (verb !== "delete") expect(warnings.filter((text) => text.includes("cannot be used"))).toHaveLength(1);
  },
);

test("memory that stands in is bounded: what does not fit is fetched when it is needed", async () => {
  const store = memoryStore(new Map(), 1_500_000);
  const { warnings } = await visit({}, store);
  expect(warnings[0]).toContain("fetched when they are needed");
  let bytes = 0;
  for (const key of await store.keys("")) bytes += (await store.read(key, () => {})) ?? 0;
  expect(bytes).toBeGreaterThan(1_000_000);
  expect(bytes).toBeLessThanOrEqual(1_500_000);
});
