import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readlink, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { directorySource } from "../../../src/source/directory.ts";
import { givenFiles } from "../../../src/source/given_files.ts";
import { readRange, type Source } from "../../../src/source/source.ts";

// Longer than one piece, and not a whole number of them.
const LONG = new Uint8Array(4 * 1024 * 1024 + 12345);
for (let i = 0; i < LONG.length; i++) LONG[i] = (i * 7 + (i >> 8)) & 255;
const CONFIG = new TextEncoder().encode('{"é":1}');

const TOO_LONG = new Uint8Array(4 * 1024 * 1024 + 1).fill(32);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mixtab-"));
  await writeFile(join(folder, "long.bin"), LONG);
  await writeFile(join(folder, "config.json"), CONFIG);
  await writeFile(join(folder, "tokenizer_config.json"), TOO_LONG);
  await writeFile(join(folder, "huge.json"), "{");
  await truncate(join(folder, "huge.json"), 1e12);
  await mkdir(join(folder, "sub"));
});
afterAll(() => rm(folder, { recursive: true }));

const sources: readonly (readonly [string, () => Source])[] = [
  ["directorySource", () => directorySource(folder)],
  [
    "givenFiles of bytes",
    () => givenFiles({ "long.bin": LONG, "config.json": CONFIG, "tokenizer_config.json": TOO_LONG }),
  ],
  [
    "givenFiles of Blobs",
    () =>
      givenFiles({
        "long.bin": new Blob([LONG]),
        "config.json": new Blob([CONFIG]),
        "tokenizer_config.json": new Blob([TOO_LONG]),
      }),
  ],
];

describe.each(sources)("%s", (_, open) => {
  it("is not remote", () => {
    expect(open().remote).toBe(false);
  });

  it("gives a file's length, and its text", async () => {
    expect(await open().size("long.bin")).toBe(LONG.length);
    expect(await open().text("config.json")).toBe('{"é":1}');
  });

  it("refuses a text beyond its limit", async () => {
    await expect(open().text("tokenizer_config.json")).rejects.toMatchObject({
      code: "too-large",
      message: expect.stringContaining("tokenizer_config.json has 4194305 bytes"),
    });
  });

  it("has no text for a file that is not there, and not-found for its length and bytes", async () => {
    for (const file of ["no.json", "constructor"]) {
      expect(await open().text(file)).toBeUndefined();
      await expect(open().size(file)).rejects.toMatchObject({ code: "not-found" });
      await expect(readRange(open(), file, 0, 1)).rejects.toMatchObject({ code: "not-found" });
    }
  });

  it.each([
    [0, LONG.length],
    [123, 4 * 1024 * 1024 + 124],
    [LONG.length - 1, LONG.length],
    [7, 7],
  ])("gives exactly bytes %i to %i", async (begin, end) => {
    const bytes = await readRange(open(), "long.bin", begin, end);
    expect(Buffer.compare(bytes, LONG.subarray(begin, end))).toBe(0);
  });

  it("refuses bytes beyond the end", async () => {
    const reading = readRange(open(), "long.bin", 5, LONG.length + 1);
    await expect(reading).rejects.toMatchObject({ code: "no-range", message: expect.stringContaining("long.bin has") });
  });

  it("an abort ends a read with the signal's reason", async () => {
    const reason = new Error("enough");
    const stop = new AbortController();
    const reading = open().read("long.bin", 0, LONG.length, stop.signal)[Symbol.asyncIterator]();
    expect((await reading.next()).done).toBe(false);
    stop.abort(reason);
    await expect(reading.next()).rejects.toBe(reason);
  });
});

it("directorySource says what is wrong with something that is no file", async () => {
  const source = directorySource(`${folder}/`);
  await expect(source.size("sub")).rejects.toMatchObject({
    code: "not-found",
    message: expect.stringContaining("not a file"),
  });
  await expect(source.text("sub")).rejects.toMatchObject({
    code: "not-found",
    message: expect.stringContaining("EISDIR"),
  });
  expect(await directorySource(join(folder, "none")).text("config.json")).toBeUndefined();
});

it("directorySource reads no more of a text than its limit", async () => {
  await expect(directorySource(folder).text("huge.json")).rejects.toMatchObject({ code: "too-large" });
});

it("givenFiles loads no text of a Blob that is beyond its limit", async () => {
  class Huge extends Blob {
    override readonly size = 1e12;
    override arrayBuffer(): never {
      throw new Error("it was loaded");
    }
  }
  await expect(givenFiles({ "config.json": new Huge() }).text("config.json")).rejects.toMatchObject({
    code: "too-large",
  });
});

it.runIf(existsSync("/proc/self/fd"))("directorySource closes the file, also where a reader stops early", async () => {
  const isOpen = async () => {
    const links = (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ""));
    return (await Promise.all(links)).some((path) => path.endsWith(`${folder}/long.bin`));
  };
  for await (const _ of directorySource(folder).read("long.bin", 0, LONG.length)) {
    expect(await isOpen()).toBe(true);
    break;
  }
  expect(await isOpen()).toBe(false);
});

it("givenFiles says that a Blob can no longer be read", async () => {
  class Gone extends Blob {
    override async arrayBuffer(): Promise<ArrayBuffer> {
      throw new DOMException("The file was changed", "NotReadableError");
    }
    override slice() {
      return this;
    }
  }
  const source = givenFiles({ a: new Gone(["abc"]) });
  for (const read of [source.text("a"), readRange(source, "a", 0, 3)])
    await expect(read).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining("choose it again"),
    });
});
