import { CPU, EITHER, expect, golden, test } from "./page.ts";

const STORY = "Tell me a story about Mia and the kite.";

test("while an answer is written, its hit rate, bytes and passes per token are shown and change", async ({
  chat,
  open,
}) => {
  await open(`${EITHER}&max-tokens=40&budget=300kB`);
  await chat.event("mixtab-ready");
  await expect(chat.gauges).toBeVisible();
  expect(await chat.gauge("Hit rate")).toBeUndefined();
  await chat.page.evaluate(() => {
    const shown: string[][] = [];
    Object.assign(globalThis, { shown });
    const root = document.querySelector("mixtab-chat")?.shadowRoot;
    const gauges = root?.querySelector(".gauges");
    const look = (): void => {
      const ended = root?.querySelector(".answer[data-finish]");
      const values = [...(gauges?.querySelectorAll("dd") ?? [])].map((value) => value.textContent ?? "");
      if (!ended && values.join() !== shown.at(-1)?.join()) shown.push(values);
    };
    if (gauges) new MutationObserver(look).observe(gauges, { subtree: true, childList: true, characterData: true });
  });
  await chat.ask(STORY);
  const shown = (await chat.page.evaluate("shown")) as string[][];
  const live = shown.filter(([hits]) => hits !== "–");
  expect(new Set(live.map(([, bytes]) => bytes)).size, JSON.stringify(shown)).toBeGreaterThan(2);
  for (const [hits = "", bytes = "", passes = "", mode = ""] of live) {
    expect(Number.parseFloat(hits)).toBeLessThan(100);
    expect(bytes).toMatch(/^[1-9]\d* kB$/);
    expect(Number.parseFloat(passes)).toBeGreaterThan(1);
    expect(mode).toMatch(/^(layers in groups: Many|token by token: A) /);
  }

  const end = await chat.event("mixtab-answer");
  const { hits, misses, uploadedBytes, passes, tokens } = end.usage!.mixtab.decode;
  expect(await chat.gauge("Hit rate")).toBe(Math.round((100 * hits) / (hits + misses)));
  expect(await chat.gauge("Read per token")).toBe(Math.round(uploadedBytes / tokens / 1000));
  expect(await chat.gauge("Passes per token")).toBeCloseTo(passes / tokens, 1);
  await expect(chat.answers.first()).toContainText(/ % hits · \d+ kB per token · [\d.]+ passes per token/);
  await expect(chat.page.getByRole("table")).toContainText("Read per token");

  await chat.page.getByRole("button", { name: "New chat" }).click();
  expect(await chat.gauge("Hit rate")).toBeUndefined();
});

test("once every expert is in memory, the mode says that tokens are queued, and nothing more is read", async ({
  chat,
  open,
}) => {
  await open(`${CPU}&budget=all`);
  await chat.ask(STORY);
  await expect
    .poll(async () => {
      const { residentExperts } = (await chat.events("mixtab-stats")).at(-1)!;
      if (residentExperts < 40) await chat.ask("Tell me a story about Lily and the cat.");
      return residentExperts;
    })
    .toBe(40);
  await chat.page.getByRole("button", { name: "New chat" }).click();
  expect(await chat.ask(STORY)).toBe(golden(STORY));
  await expect(chat.gauges).toContainText("queued ahead: Every expert is in memory");
  await expect(chat.gauges.locator("div[title^='Every expert is in memory']")).toBeVisible();
  await expect(chat.page.locator("#pool")).toContainText("Queued ahead. Every expert is in memory");
  expect(await chat.gauge("Hit rate")).toBe(100);
  expect(await chat.gauge("Read per token")).toBe(0);
  expect(await chat.gauge("Passes per token")).toBe(1);

  await chat.slider.press("Home");
  await expect(chat.gauges).not.toContainText("queued ahead");
});

test("the gauges are named, speak only when asked, and keep their size while their numbers change", async ({
  chat,
  open,
}) => {
  await open(`${CPU}&budget=300kB&max-tokens=40`);
  await chat.event("mixtab-ready");
  await chat.filled();
  await expect(chat.progress).toBeHidden();
  const sizes = () =>
    chat.gauges.evaluate((gauges) =>
      [gauges, ...gauges.querySelectorAll("dt")].map((part) => JSON.stringify(part.getBoundingClientRect())),
    );
  for (const width of [1280, 390]) {
    await chat.page.setViewportSize({ width, height: 800 });
    const before = await sizes();
    await chat.ask(STORY);
    expect(await sizes(), `${width} pixels wide`).toEqual(before);
  }
  await expect(chat.gauges.locator("[aria-live], [role=status], output")).toHaveCount(0);
  await expect(chat.gauges.locator("dt")).toHaveText(["Hit rate", "Read per token", "Passes per token", "Mode"]);
  await expect(chat.page.locator("#slots ~ output")).toHaveAttribute("aria-live", "off");
});
