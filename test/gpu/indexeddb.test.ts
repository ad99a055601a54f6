import { deleteDB } from "idb";
import { expect, it } from "vitest";
import { cdp } from "vitest/browser";
import { openIndexedDbStore } from "../../src/store/indexeddb.ts";
import { indexedDbSuite } from "../unit/store/indexeddb_suite.ts";

// Needs no GPU, but a real browser: quotas and Blobs in IndexedDB are its own.
indexedDbSuite("openIndexedDbStore");

it("a full quota is the error quota with the number of bytes, and harms no record", async () => {
  const name = "mixtab-quota";
  const megabyte = new Uint8Array(1024 * 1024).fill(3);
  const overrideQuota = (more: object) =>
    cdp().send("Storage.overrideQuotaForOrigin", { origin: location.origin, ...more });
  const store = await openIndexedDbStore(name);
  try {
    await store.put("before", megabyte);
    const { usage = 0 } = await navigator.storage.estimate();
    await overrideQuota({ quotaSize: usage + 4 * megabyte.length });
    const full = async () => {
      for (let i = 0; i < 32; i++) await store.put(`fill/${i}`, megabyte);
    };
    await expect(full()).rejects.toMatchObject({ code: "quota", message: expect.stringContaining("1048576 bytes") });
    const kept = await store.keys("fill/");
    expect(kept.length).toBeLessThan(8);
    for (const key of ["before", ...kept]) expect((await store.get(key))?.length).toBe(megabyte.length);
    await overrideQuota({});
    await store.put("after", megabyte);
    expect((await store.get("after"))?.length).toBe(megabyte.length);
  } finally {
    await overrideQuota({});
    store.close();
    await deleteDB(name);
  }
});
