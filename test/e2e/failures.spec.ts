import { CPU, expect, golden, test, WEIGHTS } from "./page.ts";

test("outside a secure context there is a named error and no crash", async ({ chat, site }) => {
  await chat.page.goto(`http://mixtab.test:${site.port}/demo/`);
  await expect(chat.alert).toContainText("insecure-context");
  await expect(chat.alert).toContainText("https");
  await expect(chat.alert.getByRole("button")).toHaveCount(0);
  expect(await chat.events("mixtab-error")).toMatchObject([{ code: "insecure-context" }]);
});

test("a model that is not there is a named error; Retry finds it once it is, and answers what was asked meanwhile", async ({
  chat,
  open,
  site,
}) => {
  const found = site.rule({ path: "/models/", status: 404 });
  await open(CPU);
  await expect(chat.alert).toContainText("not-found");
  await chat.ask("Hello!", false);
  await expect(chat.answers.first()).toContainText("No answer.");
  await expect(chat.alert).toContainText("not-found");
  found();
  await chat.alert.getByRole("button", { name: "Retry" }).click();
  await expect(chat.alert).toBeEmpty();
  await expect(chat.answers.first()).not.toHaveAttribute("data-finish", "failed");
  expect(await chat.ended(0)).toBe(golden("Hello!"));
});

test("a server that ignores Range is a named error", async ({ chat, open, site }) => {
  site.rule({ path: WEIGHTS, ignoreRange: true });
  await open();
  await expect(chat.alert).toContainText("no-range");
});

test("a connection that is cut now and then does not change the answer", async ({ chat, open, site }) => {
  site.rule({ path: WEIGHTS, cutAfter: 100_000, times: 3 });
  await open(CPU);
  expect(await chat.ask("Hello!")).toBe(golden("Hello!"));
  await chat.filled();
  expect(site.log.filter(({ path, cut }) => path.endsWith(WEIGHTS) && cut).length).toBeGreaterThan(0);
});

test("attributes that make no sense are refused by name", async ({ chat, open }) => {
  for (const [query, words] of [
    ["?budget=lots", 'budget="lots"'],
    ["?budget=1", "budget-too-small"],
    ["?context-length=-3", 'context-length="-3"'],
    ["?device=tpu", 'device="tpu"'],
    ["?model=", "No model is named"],
  ] as const) {
    await open(query);
    await expect(chat.alert, query).toContainText(words);
  }
  await open("?temperature=hot");
  await chat.ask("Hello!", false);
  await expect(chat.alert).toContainText('temperature="hot"');
});

test("a flipped byte in the store is noticed, the record fetched again, and the answer is right", async ({
  chat,
  open,
  site,
}) => {
  await open(CPU);
  await chat.ask("Hello!");
  await chat.filled();
  const flipped = await chat.page.evaluate(flipBytes);
  expect(flipped).toBeGreaterThan(0);
  site.log.length = 0;
  await chat.page.reload();
  expect(await chat.ask("Hello!")).toBe(golden("Hello!"));
  await chat.filled();
  await expect(chat.page.getByText("fetched again").first()).toBeVisible();
  expect(site.log.filter(({ path }) => path.endsWith(WEIGHTS)).length).toBeGreaterThan(0);

  // What is kept can be seen beside the note, and deleted, from the keyboard too.
  const summary = chat.page.getByText("What this browser keeps");
  await summary.focus();
  await chat.page.keyboard.press("Enter");
  const kept = chat.page.locator("mixtab-chat").getByRole("listitem");
  await expect(kept).toContainText(/storyteller-moe\/ · 3\.\d MB/);
  await kept.getByRole("button", { name: /^Delete what is kept of / }).press("Enter");
  await expect(chat.page.getByText(/3\.\d MB deleted/)).toBeVisible();
  await expect(kept).toHaveCount(0);
  expect(await chat.ask("Hello!")).not.toBe("");
});

/** Runs in the page: flips a byte in the middle of every large record of every database, leaving the hashes as they are. */
async function flipBytes(): Promise<number> {
  const done = <T>(request: IDBRequest<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  let flipped = 0;
  for (const { name } of await indexedDB.databases()) {
    const db = await done(indexedDB.open(name ?? ""));
    for (const store of db.objectStoreNames) {
      const keys = await done(db.transaction(store).objectStore(store).getAllKeys());
      for (const key of keys) {
        const record = (await done(db.transaction(store).objectStore(store).get(key))) as { blob?: Blob };
        if (!(record.blob instanceof Blob) || record.blob.size < 10_000) continue;
        const bytes = new Uint8Array(await record.blob.arrayBuffer());
        const middle = bytes.length >> 1;
        bytes[middle] = (bytes[middle] ?? 0) ^ 0x10;
        const target = db.transaction(store, "readwrite").objectStore(store);
        const changed = { ...record, blob: new Blob([bytes]) };
        await done(target.keyPath === null ? target.put(changed, key) : target.put(changed));
        flipped++;
      }
    }
    db.close();
  }
  return flipped;
}
