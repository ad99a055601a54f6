import { afterEach, expect, it, vi } from "vitest";
import { fileOf } from "../../src/store/file_names.ts";
import { openOpfsStore } from "../../src/store/opfs.ts";
import { readWhole, type Store } from "../../src/store/store.ts";
import { type Kind, storeSuite } from "../unit/store/store_suite.ts";

// Needs no GPU, but a real browser: Node has no private file system. A page writes by streams, a worker by access handles: both are run here.

const NAME = "mixtab-test";

async function folder(kind: "records" | "writing"): Promise<FileSystemDirectoryHandle> {
  const root = await (await navigator.storage.getDirectory()).getDirectoryHandle(NAME);
  return await root.getDirectoryHandle(kind, { create: true });
}

async function namesIn(kind: "records" | "writing"): Promise<string[]> {
  const names: string[] = [];
  for await (const name of (await folder(kind)).keys()) names.push(name);
  return names;
}

/** Replaces a record's file, trailer included, behind the store's back. */
async function tamper(key: string, change: (file: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>): Promise<void> {
  const handle = await (await folder("records")).getFileHandle(fileOf(key).name);
  const bytes = change(new Uint8Array(await (await handle.getFile()).arrayBuffer()));
  const stream = await handle.createWritable();
  await stream.write(bytes);
  await stream.close();
}

const kind: Kind = {
  open: () => openOpfsStore(NAME),
  clear: async () => (await navigator.storage.getDirectory()).removeEntry(NAME, { recursive: true }),
  flip: (key) =>
    tamper(key, (file) => {
      file[(file.length - 40) >> 1]! ^= 16;
      return file;
    }),
};

const pattern = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 7) & 255);

/** A store in a worker, as the engine has it. */
async function inWorker() {
  const worker = new Worker(new URL("./opfs_worker.ts", import.meta.url), { type: "module" });
  const call = (...request: unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const channel = new MessageChannel();
      channel.port1.onmessage = ({ data }) => ("error" in data ? reject(data.error) : resolve(data.result));
      worker.postMessage(request, [channel.port2]);
    });
  await call("open", NAME);
  return { call, end: () => worker.terminate() };
}

storeSuite("openOpfsStore", kind);

let store: Store | undefined;
afterEach(async () => {
  vi.restoreAllMocks();
  store?.close();
  store = undefined;
  await kind.clear().catch(() => {});
});

it.each<[string, (file: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>]>([
  ["cut short", (file) => file.slice(0, -1)],
  ["cut within its trailer", (file) => file.slice(0, 20)],
  ["empty", () => new Uint8Array()],
  ["longer than it says", (file) => Uint8Array.of(0, ...file)],
])("takes a file that is %s for absent, and deletes it", async (_, damage) => {
  store = await kind.open();
  await store.put("a", pattern(1000, 1));
  await tamper("a", damage);
  expect(await readWhole(store, "a")).toBeUndefined();
  expect(await store.keys("")).toEqual([]);
});

it("a file that changes after it was verified is verified again", async () => {
  store = await kind.open();
  await store.put("a", pattern(1000, 1));
  await readWhole(store, "a");
  await kind.flip("a");
  expect(await readWhole(store, "a")).toBeUndefined();
  expect(await store.keys("")).toEqual([]);
});

it("does not take what a cut write left for a record, and removes it when nobody writes", async () => {
  store = await kind.open();
  const left = await (await folder("writing")).getFileHandle("left", { create: true });
  const stream = await left.createWritable();
  await stream.write(pattern(1000, 1));
  await stream.close();
  expect(await store.keys("")).toEqual([]);
  let finish = () => {};
  await new Promise<void>((began) => {
    void navigator.locks.request(`mixtab-opfs/${NAME}`, { mode: "shared" }, async () => {
      began();
      await new Promise<void>((done) => {
        finish = done;
      });
    });
  });
  (await kind.open()).close();
  expect(await namesIn("writing")).toEqual(["left"]);
  finish();
  await navigator.locks.request(`mixtab-opfs/${NAME}`, () => {});
  (await kind.open()).close();
  expect((await namesIn("writing")).length).toBe(0);
});

it("a full quota is the error quota, other failures are the error store; neither leaves a file", async () => {
  store = await kind.open();
  const fail = (name: string) =>
    vi.spyOn(FileSystemWritableFileStream.prototype, "write").mockRejectedValue(new DOMException("no", name));
  fail("QuotaExceededError");
  await expect(store.put("a", pattern(12345, 1))).rejects.toMatchObject({
    code: "quota",
    message: expect.stringContaining("12345 bytes could not be stored"),
  });
  fail("UnknownError");
  await expect(store.put("a", pattern(1, 1))).rejects.toMatchObject({ code: "store" });
  vi.restoreAllMocks();
  expect([await store.keys(""), await namesIn("writing")]).toEqual([[], []]);
  await store.put("a", pattern(1, 1));
  expect(await store.keys("")).toEqual(["a"]);
});

it("goes on with an empty store where the site's data was deleted", async () => {
  store = await kind.open();
  await store.put("a", pattern(10, 1));
  await readWhole(store, "a");
  await kind.clear();
  expect(await readWhole(store, "a")).toBeUndefined();
  await store.put("b", pattern(10, 2));
  expect(await store.keys("")).toEqual(["b"]);
});

it("a browser without it, or that refuses, is the error store; a closed store is the error closed", async () => {
  vi.spyOn(navigator.storage, "getDirectory").mockRejectedValue(new DOMException("not here", "SecurityError"));
  await expect(kind.open()).rejects.toMatchObject({ code: "store", message: expect.stringContaining("not here") });
  vi.restoreAllMocks();
  vi.stubGlobal("FileSystemFileHandle", undefined);
  await expect(kind.open()).rejects.toMatchObject({ code: "store", message: expect.stringContaining("indexeddb") });
  vi.unstubAllGlobals();
  const closed = await kind.open();
  closed.close();
  await expect(readWhole(closed, "a")).rejects.toMatchObject({ code: "closed" });
  await expect(closed.put("a", pattern(1, 1))).rejects.toMatchObject({ code: "closed" });
});

it("a worker and a page read what the other has put, and what both put at once is one of the two", async () => {
  store = await kind.open();
  const worker = await inWorker();
  try {
    await worker.call("put", "w", pattern(5_000_001, 1));
    await store.put("p", pattern(5_000_001, 2));
    expect(await readWhole(store, "w").then((bytes) => bytes && same(bytes, pattern(5_000_001, 1)))).toBe(true);
    expect(same((await worker.call("read", "p")) as Uint8Array, pattern(5_000_001, 2))).toBe(true);
    for (let i = 0; i < 10; i++) {
      const [mine, other] = [pattern(3000 + i, 3), pattern(4000 + i, 4)];
      await Promise.all([store.put("both", mine), worker.call("put", "both", other), readWhole(store, "both")]);
      for (const got of [await readWhole(store, "both"), await worker.call("read", "both")])
        expect(got !== undefined && [mine, other].some((one) => same(one, got as Uint8Array))).toBe(true);
    }
    expect(await store.keys("")).toEqual(["both", "p", "w"]);
    expect((await namesIn("writing")).length).toBe(0);
  } finally {
    worker.end();
  }
});

/** As toEqual, which takes seconds for long arrays. */
function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
