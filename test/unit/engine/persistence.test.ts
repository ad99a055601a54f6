import "fake-indexeddb/auto";
import { deleteDB } from "idb";
import { afterEach, expect, test, vi } from "vitest";
import type { Progress } from "../../../src/engine/api.ts";
import { openEngine } from "../../../src/engine/engine.ts";
import { askingToPersist } from "../../../src/engine/persistence.ts";
import { openInWorker } from "../../../src/worker/client.ts";
import { computedMixtral, everywhere, TINY } from "../../support/computed_mixtral.ts";
import { computedSource } from "../../support/computed_source.ts";
import { MIXTRAL_8X7B, Q4 } from "../../support/synthetic_model.ts";

afterEach(async () => {
  vi.unstubAllGlobals();
  await deleteDB("mixtab");
});

const LARGE: Progress = {
  phase: "dense",
  loadedBytes: 0,
  totalBytes: 100_000_000,
  bytesPerSecond: 0,
  from: "network",
};

/** A browser's storage that answers when it is told to. */
function fakeStorage({ before = false } = {}) {
  let answer: (value: boolean | Error) => void = () => {};
  const persist = vi.fn(
    () =>
      new Promise<boolean>((resolve, reject) => {
        answer = (value) => (value instanceof Error ? reject(value) : resolve(value));
      }),
  );
  return {
    storage: { persist, persisted: async () => before },
    persist,
    answer: (value: boolean | Error) => answer(value),
  };
}

const settled = () => new Promise((resolve) => setTimeout(resolve));

test.each<[string, Partial<Progress>, number]>([
  ["a large model from the network", {}, 1],
  ["a large model whose experts are still to come", { phase: "experts" }, 1],
  ["a model of less than 100 MB", { totalBytes: 99_999_999 }, 0],
  ["a large model that is stored already", { from: "store" }, 0],
  ["a model of which nothing is known yet", { phase: "opening" }, 0],
])("%s: the browser is asked at most once", async (_, more, times) => {
  const { storage, persist } = fakeStorage();
  const listener = askingToPersist(undefined, storage)!;
  for (let i = 0; i < 3; i++) listener({ ...LARGE, ...more });
  await settled();
  expect(persist).toHaveBeenCalledTimes(times);
});

test.each<[boolean | Error, boolean]>([
  [true, true],
  [false, false],
  [new DOMException("not here", "TypeError"), false],
])(
  "nobody waits for the answer %s; it is told with the last event again, without its warning, and with all that follow",
  async (given, persisted) => {
    const { storage, answer } = fakeStorage();
    const told: Progress[] = [];
    const listener = askingToPersist((progress) => told.push(progress), storage)!;
    listener(LARGE);
    listener({ ...LARGE, phase: "experts", warning: "Full." });
    expect(told).toEqual([LARGE, { ...LARGE, phase: "experts", warning: "Full." }]);
    await settled();
    answer(given);
    await settled();
    expect(told.slice(2)).toEqual([{ ...LARGE, phase: "experts", persisted }]);
    listener({ ...LARGE, phase: "done" });
    expect(told.at(-1)).toEqual({ ...LARGE, phase: "done", persisted });
  },
);

test("what was promised before is not asked for again, and where there is nobody to ask nothing changes", async () => {
  const { storage, persist } = fakeStorage({ before: true });
  const told: Progress[] = [];
  askingToPersist((progress) => told.push(progress), storage)!(LARGE);
  await settled();
  expect(told.at(-1)).toEqual({ ...LARGE, persisted: true });
  expect(persist).not.toHaveBeenCalled();
  const listener = () => {};
  expect(askingToPersist(listener, {})).toBe(listener);
  expect(askingToPersist(listener, undefined)).toBe(listener);
});

/** Opens a model of 400 MB in this thread until its dense weights begin to come. */
async function begin(store: "indexeddb" | "memory", remote = true) {
  const shape = { ...TINY, ...MIXTRAL_8X7B, heads: 8, layers: 1, experts: 4, encodings: everywhere(Q4), stacked: true };
  const { config, tensors } = computedMixtral(shape);
  const source = { ...computedSource(config, tensors), name: "https://cdn.example/m/", remote };
  const stop = new AbortController();
  const told: Progress[] = [];
  const onProgress = (progress: Progress) => {
    told.push(progress);
    if (progress.phase === "dense") stop.abort();
  };
  const opening = openEngine({ id: "m", source }, { device: "cpu", store, onProgress, signal: stop.signal });
  await expect(opening).rejects.toMatchObject({ name: "AbortError" });
  await settled();
  expect(told.find(({ phase }) => phase === "dense")!.totalBytes).toBeGreaterThan(100_000_000);
  return told;
}

test("an engine in a page asks for a model that is kept, and not for one in memory or of this machine", async () => {
  const { storage, persist } = fakeStorage();
  persist.mockResolvedValue(true);
  vi.stubGlobal("navigator", { storage });
  await begin("memory");
  await begin("indexeddb", false);
  expect(persist).not.toHaveBeenCalled();
  expect((await begin("indexeddb")).at(-1)).toMatchObject({ persisted: true });
  expect(persist).toHaveBeenCalledTimes(1);
});

/** A worker that tells of a large model and then says that it is open. */
class FakeWorker extends EventTarget {
  postMessage({ id }: { id: number }): void {
    const say = (data: object) => this.dispatchEvent(new MessageEvent("message", { data: { id, ...data } }));
    queueMicrotask(() => {
      say({ kind: "progress", progress: LARGE });
      say({ kind: "result", value: {} });
    });
  }
  terminate(): void {}
}

test("the page asks for what its worker stores, since workers cannot", async () => {
  const { storage, persist } = fakeStorage();
  persist.mockResolvedValue(true);
  vi.stubGlobal("navigator", { storage });
  const open = async (model: Parameters<typeof openInWorker>[1], store: "opfs" | "memory") => {
    const told: Progress[] = [];
    const onProgress = (progress: Progress) => void told.push(progress);
    await openInWorker(new FakeWorker() as unknown as Worker, model, { store, onProgress });
    await settled();
    return told;
  };
  await open("https://cdn.example/m/", "memory");
  await open({}, "opfs");
  expect(persist).not.toHaveBeenCalled();
  expect(await open("https://cdn.example/m/", "opfs")).toEqual([LARGE, { ...LARGE, persisted: true }]);
  await openInWorker(new FakeWorker() as unknown as Worker, "https://cdn.example/m/", {});
  await settled();
  expect(persist).toHaveBeenCalledTimes(2);
});
