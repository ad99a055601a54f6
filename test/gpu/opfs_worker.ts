import { openOpfsStore } from "../../src/store/opfs.ts";
import { readWhole, type Store } from "../../src/store/store.ts";

/** For opfs.test.ts: a store in a dedicated worker, whose calls come as messages and are answered on the port beside them. */
let store: Store;

async function serve(what: "open" | "put" | "read", key: string, bytes: Uint8Array<ArrayBuffer>): Promise<unknown> {
  if (what === "open") store = await openOpfsStore(key);
  else if (what === "put") await store.put(key, bytes);
  else return await readWhole(store, key);
}

addEventListener("message", ({ data, ports: [port] }) => {
  serve(...(data as Parameters<typeof serve>)).then(
    (result) => port!.postMessage({ result }),
    (error) => port!.postMessage({ error: String(error) }),
  );
});
