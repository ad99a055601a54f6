import { deleteDB } from "idb";
import { expect, it } from "vitest";
import { cdp } from "vitest/browser";
import { openIndexedDbStore } from "../../src/store/indexeddb.ts";
import { readWhole, type Store } from "../../src/store/store.ts";
import { indexedDbSuite } from "../unit/store/indexeddb_suite.ts";

// Needs no GPU, but a real browser: quotas and Blobs in IndexedDB are its own.

const MEGABYTE = new Uint8Array(1024 * 1024).fill(3);
/** Chromium believes what it knew of the quota for 30 s. */
const QUOTA_NOTICED_MS = 40_000;

const setQuota = (more: { quotaSize?: number }) =>
  cdp().send("Storage.overrideQuotaForOrigin", { origin: location.origin, ...more });

/** Puts up to 12 records under fill/; the first failure. */
async function fill(store: Store): Promise<unknown> {
  try {
    for (let i = 0; i < 12; i++) await store.put(`fill/${i}`, MEGABYTE);
  } catch (error) {
    return error;
  }
}

// First, while the browser has not asked for the quota yet.
it("a full quota is the error quota with the number of bytes, and harms no record", async () => {
  await setQuota({ quotaSize: 6 * MEGABYTE.length });
  const name = "mixtab-quota";
  const store = await openIndexedDbStore(name);
  try {
    await store.put("before", MEGABYTE);
    const deadline = Date.now() + QUOTA_NOTICED_MS;
    let error = await fill(store);
    while (error === undefined && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      await store.delete("fill/");
      error = await fill(store);
    }
    expect(error).toMatchObject({
      code: "quota",
      message: expect.stringContaining("1048576 bytes could not be stored"),
    });
    const kept = await store.keys("fill/");
    expect(kept.length).toBeLessThan(6);
    expect(await readWhole(store, `fill/${kept.length}`)).toBeUndefined();
    for (const key of ["before", ...kept]) expect((await readWhole(store, key))?.length).toBe(MEGABYTE.length);
    await setQuota({});
    expect(await fill(store)).toBeUndefined();
    expect((await store.keys("fill/")).length).toBe(12);
  } finally {
    await setQuota({});
    store.close();
    await deleteDB(name);
  }
});

it("a read ends though garbage is collected meanwhile", async () => {
  const name = "mixtab-garbage";
  const store = await openIndexedDbStore(name);
  try {
    await store.put("a", MEGABYTE);
    await readWhole(store, "a");
    for (let i = 0; i < 20; i++) {
      const reading = readWhole(store, "a");
      await Promise.all([cdp().send("HeapProfiler.collectGarbage"), cdp().send("HeapProfiler.collectGarbage")]);
      expect((await reading)?.length).toBe(MEGABYTE.length);
    }
  } finally {
    store.close();
    await deleteDB(name);
  }
}, 20_000);

indexedDbSuite("openIndexedDbStore");
