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
