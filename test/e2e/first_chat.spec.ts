import { CPU, EITHER, expect, golden, test, WEIGHTS, WEIGHTS_BYTES } from "./page.ts";

test("a first visit shows bytes and speed from the network, and the answer grows word by word", async ({
  chat,
  open,
  site,
}) => {
  site.rule({ path: WEIGHTS, bytesPerSecond: 2_000_000 });
  await open("?temperature=0");
  await expect(chat.progress).toHaveAttribute("aria-valuetext", /of 3\.0 MB · .+\/s · from network/);

  await chat.page.evaluate(() => {
    const seen: string[] = [];
    Object.assign(globalThis, { seen });
    const root = document.querySelector("mixtab-chat")?.shadowRoot;
    const look = (): void => {
      const text = root?.querySelector(".answer .text")?.textContent ?? "";
      if (text !== "" && text !== seen.at(-1)) seen.push(text);
    };
    if (root) new MutationObserver(look).observe(root, { subtree: true, childList: true, characterData: true });
  });
  expect(await chat.ask("Who are you?")).toBe(golden("Who are you?"));
  const seen = (await chat.page.evaluate("seen")) as string[];
  expect(seen.length).toBeGreaterThan(5);
  for (const [i, text] of seen.entries()) expect(seen[i + 1] ?? text).toContain(text);

  await chat.filled();
  const progress = await chat.events("mixtab-progress");
  const loaded = progress.map(({ loadedBytes }) => loadedBytes);
  expect(loaded, JSON.stringify(progress)).toEqual([...loaded].sort((a, b) => a - b));
  expect(progress.at(-1)).toMatchObject({ phase: "done", from: "network" });
  expect(progress.at(-1)?.totalBytes).toBeGreaterThan(0.9 * WEIGHTS_BYTES);
  await expect(chat.progress).toBeHidden();
  await expect(chat.status).toContainText("3.0 MB from network");
  expect(await chat.events("mixtab-ready")).toMatchObject([{ device: "gpu", experts: 8, layers: 5, top: 2 }]);
});

test("Stop keeps the words so far, and the conversation goes on from them", async ({ chat, open }) => {
  await open(EITHER);
  const question = "Tell me a story about Lily and the cat.";
  await chat.ask(question, false);
  await chat.page.evaluate(async () => {
    const stop = (await reached(20)).shadowRoot?.querySelector<HTMLElement>(".stop");
    stop?.focus();
    stop?.click();
  });
  await expect(chat.answers.first()).toContainText("Stopped.");
  await expect(chat.input).toBeFocused();
  const kept = await chat.text(0);
  expect(golden(question).startsWith(kept)).toBe(true);
  expect(kept.length).toBeLessThan(golden(question).length);
  await chat.ask("Hello!");
  expect(await chat.text(0)).toBe(kept);
  const end = await chat.event("mixtab-answer", 2);
  expect(end.usage?.prompt_tokens_details.cached_tokens).toBeGreaterThan(10);
  const messages = await chat.page
    .locator("mixtab-chat")
    .evaluate((element) => Reflect.get(element, "messages") as unknown[]);
  expect(messages).toHaveLength(4);
});

test("a second turn reuses the cached prefix; New chat begins from nothing", async ({ chat, open }) => {
  await open(`${EITHER}&max-tokens=30`);
  await chat.ask("Hello!");
  const first = await chat.event("mixtab-answer");
  await chat.ask("Thank you!");
  const second = await chat.event("mixtab-answer", 2);
  expect(first.usage?.prompt_tokens_details.cached_tokens).toBe(0);
  expect(second.usage?.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(
    first.usage?.prompt_tokens ?? Infinity,
  );
  expect(second.usage?.prompt_tokens).toBeGreaterThan(first.usage?.total_tokens ?? Infinity);
  await expect(chat.answers.nth(1)).toContainText(/\d+ of \d+ prompt tokens reused/);

  await chat.page.getByRole("button", { name: "New chat" }).click();
  await expect(chat.answers).toHaveCount(0);
  await expect(chat.input).toBeFocused();
  await chat.page.getByRole("button", { name: "Hello!" }).click();
  expect(await chat.ended(0)).toBe(golden("Hello!"));
  expect((await chat.event("mixtab-answer", 3)).usage?.prompt_tokens).toBe(first.usage?.prompt_tokens);
});

test("a second visit loads from the store and asks the network for no weights", async ({ chat, open, site }) => {
  await open(CPU);
  const first = await chat.ask("Hello!");
  await chat.filled();
  site.log.length = 0;
  await chat.page.reload();
  expect(await chat.ask("Hello!")).toBe(first);
  await chat.filled();
  await expect(chat.status).toContainText("3.0 MB from this browser’s store");
  expect(site.log.filter(({ path, method }) => path.endsWith(WEIGHTS) && method === "GET")).toEqual([]);
  const progress = await chat.events("mixtab-progress");
  expect(progress.filter(({ from, loadedBytes }) => from === "network" && loadedBytes > 0)).toEqual([]);
});

test("the first words are painted before the last expert is requested", async ({ chat, open, site }) => {
  site.rule({ path: WEIGHTS, bytesPerSecond: 50_000 });
  await open(`${CPU}&max-tokens=4`);
  await chat.ask("Hello!", false);
  await chat.page.evaluate(async () => void (await reached(1)));
  const requested = site.log.filter(({ path }) => path.endsWith(WEIGHTS)).map(({ begin, end }) => [begin, end]);
  expect(covered(requested)).toBeLessThan(WEIGHTS_BYTES);
  await expect(chat.progress).toHaveAttribute("aria-valuetext", /It can talk already\..* from network/);
  await chat.ended(0);
});

/** How many bytes some of the ranges hold. */
function covered(ranges: number[][]): number {
  let reached = 0;
  let bytes = 0;
  for (const [begin = 0, end = 0] of ranges.sort(([a = 0], [b = 0]) => a - b)) {
    bytes += Math.max(0, end - Math.max(begin, reached));
    reached = Math.max(reached, end);
  }
  return bytes;
}
