import type { Engine, ModelInfo, Stats } from "../../src/index.ts";
import { CPU, EITHER, expect, golden, test } from "./page.ts";

const STORY = "Tell me a story about Mia and the kite.";

test("the smallest budget gives the same words as the largest, and the conversation outlives the change", async ({
  chat,
  open,
}) => {
  const question = "Who is Tom?";
  await open(`${EITHER}&max-tokens=40`);
  const resident = await chat.ask(question);
  expect(golden(question).startsWith(resident)).toBe(true);
  const all = await chat.event("mixtab-ready");
  expect(all.slots).toBe(all.experts * all.layers);
  const first = await chat.event("mixtab-answer");
  expect(first.usage?.mixtab.decode.misses).toBeLessThan(all.slots);

  await expect(chat.slider).toHaveAttribute("aria-valuetext", /room for all 40 experts, 2\.\d MB/);
  await chat.slider.press("Home");
  const least = await chat.event("mixtab-budget");
  expect(least.slots).toBe(least.top);
  await expect(chat.slider).toHaveAttribute("aria-valuetext", /room for 2 of 40 experts/);
  await expect(chat.page).toHaveURL((url) => url.searchParams.get("budget") === String(2 * least.recordBytes));
  await expect(chat.answers).toHaveCount(1);
  expect(await chat.events("mixtab-ready")).toHaveLength(1);

  await chat.page.getByRole("button", { name: "New chat" }).click();
  expect(await chat.ask(question)).toBe(resident);
  const end = await chat.event("mixtab-answer", 2);
  expect(end.usage?.mixtab.decode.misses).toBeGreaterThan(first.usage?.mixtab.decode.misses ?? 0);
  expect(end.usage?.mixtab.decode.uploadedBytes).toBe((end.usage?.mixtab.decode.uploads ?? 0) * least.recordBytes);
  const { slots, residentExperts } = (await chat.events("mixtab-stats")).at(-1)!;
  expect(slots).toBe(least.slots);
  expect(residentExperts).toBeLessThanOrEqual(least.slots);
});

for (const [device, query] of [
  ["GPU", "?temperature=0&max-tokens=36"],
  ["processor", CPU],
] as const)
  test(`on the ${device}, the slider goes down and up while an answer is written, and the words are the same`, async ({
    chat,
    open,
  }) => {
    await open(query);
    await chat.event("mixtab-ready");
    await chat.ask(STORY, false);
    const seen = await chat.page.evaluate(dragInMidAnswer);
    const text = await chat.ended(0);
    const whole = golden(STORY);
    expect(device === "GPU" ? whole.startsWith(text) : text === whole, text).toBe(true);
    expect(seen.map(({ slots }) => slots)).toEqual([2, 40, 9]);
    for (const { ended, stats } of seen) expect(ended, JSON.stringify(stats)).toBe(false);
    for (const { slots, stats } of seen) expect(stats.slots).toBe(slots);
    expect(seen[0]?.stats.residentExperts).toBeLessThanOrEqual(2);

    await expect(chat.slider).toHaveValue("9");
    await expect(chat.page.getByText(/\d of 40 experts in memory, room for 9\./)).toBeVisible();
    expect(await chat.events("mixtab-ready")).toHaveLength(1);
    expect(await chat.events("mixtab-error")).toEqual([]);
  });

test("a drag across all budgets changes the pool one at a time and ends where it was let go", async ({
  chat,
  open,
}) => {
  await open(CPU);
  await chat.event("mixtab-ready");
  const { asked, most } = await chat.page.evaluate(dragAcross);
  const { slots, recordBytes } = await chat.event("mixtab-budget");
  expect(slots).toBe(7);
  expect(most).toBe(1);
  expect(asked.at(-1)).toBe(7 * recordBytes);
  expect(asked.length).toBeLessThan(33);
  expect(await chat.events("mixtab-budget")).toHaveLength(1);
});

test("a budget that cannot be is said in words, the slider goes back, and the answer goes on", async ({
  chat,
  open,
}) => {
  await open(`${CPU}&budget=1MB`);
  const { slots, top, recordBytes } = await chat.event("mixtab-ready");
  await chat.ask(STORY, false);
  await chat.page.evaluate(async () => {
    const engine = (await Reflect.get(await reached(10), "engine")) as Engine;
    const change = engine.setBudget;
    engine.setBudget = async () => {
      engine.setBudget = change;
      throw Object.assign(new Error("The GPU refused that."), { code: "out-of-memory" });
    };
  });
  await chat.slider.press("End");
  await chat.event("mixtab-error");
  await expect(chat.alert).toContainText("out-of-memory The GPU refused that. The budget stays at 995 kB.");
  await expect(chat.slider).toHaveValue(String(slots));
  await expect(chat.page.locator("mixtab-chat")).toHaveAttribute("budget", "1MB");
  expect(await chat.ended(0)).toBe(golden(STORY));

  await chat.page.locator("mixtab-chat").evaluate((element) => element.setAttribute("budget", "1"));
  await expect(chat.alert).toContainText(`budget-too-small`);
  await expect(chat.alert).toContainText(`${top * recordBytes} bytes`);
  await expect(chat.slider).toHaveValue(String(slots));
  await chat.slider.press("Home");
  await expect(chat.alert).toBeEmpty();
  await expect(chat.slider).toHaveValue(String(top));
  expect(await chat.ask("Hello!")).not.toBe("");
});

test("budget=auto takes what the device gives, and a budget that is taken away is the usual one", async ({
  chat,
  open,
}) => {
  await open(`${CPU}&budget=auto`);
  const ready = await chat.event("mixtab-ready");
  expect(ready.slots).toBe(40);
  const element = chat.page.locator("mixtab-chat");
  await element.evaluate((chat) => chat.setAttribute("budget", "1MB"));
  expect((await chat.event("mixtab-budget")).slots).toBe(Math.floor(1e6 / ready.recordBytes));
  await element.evaluate((chat) => chat.removeAttribute("budget"));
  expect((await chat.event("mixtab-budget", 2)).slots).toBe(40);
  await element.evaluate((chat) => chat.setAttribute("budget", "auto"));
  expect((await chat.event("mixtab-budget", 3)).slots).toBe(40);
  expect(await chat.ask("Hello!")).toBe(golden("Hello!"));
});

/** Runs in the page: moves the slider three times while the first answer is written, each when the move before has come to rest. */
async function dragInMidAnswer() {
  const element = await reached(10);
  const engine = (await Reflect.get(element, "engine")) as Engine;
  const slider = document.querySelector<HTMLInputElement>("#slots")!;
  const seen: { slots: number; ended: boolean; stats: Stats }[] = [];
  for (const slots of ["2", "40", "9"]) {
    const rest = new Promise<ModelInfo>((resolve) =>
      element.addEventListener("mixtab-budget", (event) => resolve((event as CustomEvent).detail), { once: true }),
    );
    slider.value = slots;
    slider.dispatchEvent(new Event("input"));
    const info = await rest;
    const ended = element.shadowRoot?.querySelector(".answer")?.hasAttribute("data-finish") ?? true;
    seen.push({ slots: info.slots, ended, stats: await engine.stats() });
  }
  return seen;
}

/** Runs in the page: drags the slider from 40 to 7 while each change takes longer than a move. */
async function dragAcross() {
  const element = document.querySelector("mixtab-chat")!;
  const engine = (await Reflect.get(element, "engine")) as Engine;
  const change = engine.setBudget;
  const asked: (number | "auto")[] = [];
  let underWay = 0;
  let most = 0;
  engine.setBudget = async (bytes) => {
    asked.push(bytes);
    most = Math.max(most, ++underWay);
    await new Promise((later) => setTimeout(later, 20));
    return change(bytes).finally(() => underWay--);
  };
  const rest = new Promise((resolve) => element.addEventListener("mixtab-budget", resolve, { once: true }));
  const slider = document.querySelector<HTMLInputElement>("#slots")!;
  for (let slots = 39; slots >= 7; slots--) {
    slider.value = String(slots);
    slider.dispatchEvent(new Event("input"));
    if (slots % 8 === 0) await new Promise((later) => setTimeout(later));
  }
  await rest;
  return { asked, most };
}
