import { expect, it } from "vitest";
import { type MemoryRecord, memoryStore } from "../../../src/store/memory.ts";
import { storeSuite } from "./store_suite.ts";

const records = new Map<string, MemoryRecord>();

storeSuite("memoryStore", {
  open: async () => memoryStore(records),
  clear: async () => records.clear(),
  async flip(key) {
    const { bytes } = records.get(key)!;
    bytes[bytes.length >> 1]! ^= 16;
  },
});

it("takes as many bytes as it may, to the byte, and counts a record that is replaced once", async () => {
  const store = memoryStore(new Map(), 10);
  const full = { code: "quota" };
  await store.put("a", new Uint8Array(6));
  await expect(store.put("b", new Uint8Array(5))).rejects.toMatchObject(full);
  await store.put("b", new Uint8Array(4));
  await store.put("a", new Uint8Array(6));
  await expect(store.put("c", new Uint8Array(1))).rejects.toMatchObject(full);
  await expect(store.put("a", new Uint8Array(7))).rejects.toMatchObject(full);
  await store.delete("b");
  const [first, second] = [store.put("c", new Uint8Array(3)), store.put("d", new Uint8Array(2))];
  await expect(second).rejects.toMatchObject(full);
  await first;
  expect([...(await store.sizes(""))]).toEqual([
    ["a", 6],
    ["c", 3],
  ]);
});
