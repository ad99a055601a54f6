import type { Page } from "@playwright/test";
import type { Engine, EngineOptions, Progress } from "../../src/index.ts";
import { CPU, expect, golden, test } from "./page.ts";

const HELLO = golden("Hello!");
const STORY = "Tell me a story about Mia and the kite.";

/** What a bare page does with the library; `cleared` is Playwright's. */
declare global {
  function cleared(): Promise<void>;
}

/** Deletes what the browser keeps for an origin, as its settings page does. */
async function clearSiteData(page: Page, origin: string): Promise<void> {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Storage.clearDataForOrigin", { origin, storageTypes: "all" });
}

for (const store of ["indexeddb", "opfs"] as const)
  test(`the site's data is deleted in mid-answer (${store}): the answer goes on, and is the same`, async ({
    page,
    site,
  }) => {
    await page.goto(`${site.origin}/demo/models/storyteller-moe/config.json`);
    await page.exposeFunction("cleared", () => clearSiteData(page, site.origin));
    const told = await page.evaluate(
      async ({ library, model, question, store }) => {
        const { createEngine } = (await import(library)) as {
          createEngine(model: string, options: EngineOptions): Promise<Engine>;
        };
        let done = () => {};
        const filled = new Promise<void>((resolve) => {
          done = resolve;
        });
        const onProgress = ({ phase }: Progress) => phase === "done" && done();
        const engine = await createEngine(model, { device: "cpu", store, onProgress });
        await filled;
        await engine.setBudget(2 * engine.info.recordBytes);
        const messages = [{ role: "user", content: question }] as const;
        const answer = await engine.chat.completions.create({ messages, temperature: 0, max_tokens: 24, stream: true });
        const pieces: string[] = [];
        for await (const { choices } of answer) {
          pieces.push(choices[0]?.delta.content ?? "");
          if (pieces.length === 6) await cleared();
        }
        const { decode } = await engine.stats();
        await engine.close();
        return { text: pieces.join(""), fromStore: decode.bytesFromStore, fromNetwork: decode.bytesFromNetwork };
      },
      {
        library: `${site.origin}/lib/mixtab.js`,
        model: `${site.origin}/demo/models/storyteller-moe`,
        question: STORY,
        store,
      },
    );
    expect(golden(STORY).startsWith(told.text.trim())).toBe(true);
    expect(told.text.length).toBeGreaterThan(40);
    expect(told.fromStore).toBeGreaterThan(0);
    expect(told.fromNetwork, "what was deleted is fetched again").toBeGreaterThan(0);
  });

test("in a sandboxed frame, which has no storage, the chat goes on in memory and says so", async ({ page, site }) => {
  const frame = `<iframe sandbox="allow-scripts" style="width:1000px;height:700px" src="${site.origin}/demo/${CPU}&max-tokens=8"></iframe>`;
  await page.goto(`${site.origin}/demo/models/storyteller-moe/config.json`);
  await page.setContent(frame);
  const chat = page.frameLocator("iframe").locator("mixtab-chat");
  await chat.getByLabel("Your message").fill("Hello!");
  await chat.getByLabel("Your message").press("Enter");
  await expect(chat.locator(".answer[data-finish] .text")).toContainText(HELLO.slice(0, 5));
  await expect(chat).toContainText("in memory");
});

test("with a database of another program the chat goes on in memory and says so", async ({ chat, open, site }) => {
  await chat.page.goto(`${site.origin}/demo/models/storyteller-moe/config.json`);
  await chat.page.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const opening = indexedDB.open("mixtab", 1);
        opening.onsuccess = () => resolve(opening.result.close());
        opening.onerror = () => reject(opening.error);
      }),
  );
  await open(`${CPU}&max-tokens=8`);
  expect(HELLO.startsWith(await chat.ask("Hello!"))).toBe(true);
  await expect(chat.page.locator("mixtab-chat")).toContainText("in memory");
});

test("where the private file system has room for one byte the engine goes on in memory and says so", async ({
  page,
  site,
}) => {
  await page.goto(`${site.origin}/demo/models/storyteller-moe/config.json`);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: site.origin, quotaSize: 1 });
  const told = await page.evaluate(
    async ({ library, model }) => {
      const { createEngine } = (await import(library)) as {
        createEngine(model: string, options: EngineOptions): Promise<Engine>;
      };
      const warnings: string[] = [];
      const onProgress = ({ warning }: Progress) => void (warning && warnings.push(warning));
      const engine = await createEngine(model, { device: "cpu", store: "opfs", onProgress });
      const messages = [{ role: "user", content: "Hello!" }] as const;
      const { choices } = await engine.chat.completions.create({ messages, temperature: 0, max_tokens: 8 });
      await engine.close();
      return { text: choices[0]?.message.content ?? "", warnings };
    },
    { library: `${site.origin}/lib/mixtab.js`, model: `${site.origin}/demo/models/storyteller-moe` },
  );
  expect(told.text.length).toBeGreaterThan(4);
  expect(HELLO.startsWith(told.text.trim())).toBe(true);
  expect(told.warnings.join(" ")).toMatch(/in memory|no more room/);
});
