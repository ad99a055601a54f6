import "fake-indexeddb/auto";
import { deleteDB } from "idb";
import { expect, it } from "vitest";
import { openIndexedDbStore } from "../../../src/store/indexeddb.ts";
import { indexedDbSuite } from "./indexeddb_suite.ts";

indexedDbSuite("openIndexedDbStore on fake-indexeddb");

it("a transaction that is aborted for its quota is the error quota; others are the error store", async () => {
  const store = await openIndexedDbStore("mixtab-abort");
  const { put } = IDBObjectStore.prototype;
  const abortFor = (name: string) => {
    IDBObjectStore.prototype.put = function (...record) {
      const request = put.apply(this, record);
      (this.transaction as unknown as { _abort(name: string): void })._abort(name);
      return request;
    };
  };
  try {
    abortFor("QuotaExceededError");
    await expect(store.put("a", new Uint8Array(12345))).rejects.toMatchObject({
      code: "quota",
      message: expect.stringContaining("12345 bytes could not be stored"),
    });
    abortFor("UnknownError");
    await expect(store.put("a", new Uint8Array(1))).rejects.toMatchObject({ code: "store" });
    IDBObjectStore.prototype.put = put;
    expect(await store.keys("")).toEqual([]);
  } finally {
    IDBObjectStore.prototype.put = put;
    store.close();
    await deleteDB("mixtab-abort");
  }
});
