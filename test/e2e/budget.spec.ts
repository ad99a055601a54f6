import { CPU, expect, golden, test } from "./page.ts";

test("the smallest budget gives the same words as the largest, and the conversation outlives the change", async ({
  chat,
  open,
}) => {
  const question = "Who is Tom?";
  await open("?temperature=0&max-tokens=40");
  const resident = await chat.ask(question);
  expect(golden(question).startsWith(resident)).toBe(true);
  const all = await chat.event("mixtab-ready");
  expect(all.slots).toBe(all.experts * all.layers);
  const first = await chat.event("mixtab-answer");
  expect(first.usage?.mixtab.decode.misses).toBeLessThan(all.slots);

  const slider = chat.page.getByLabel("Experts kept in memory");
  await expect(slider).toHaveAttribute("aria-valuetext", /everything resident: 40 experts, 2\.\d MB/);
  await slider.press("Home");
  const least = await chat.event("mixtab-ready", 2);
  expect(least.slots).toBe(least.top);
  await expect(slider).toHaveAttribute("aria-valuetext", /2 slots for 40 experts/);
  expect(new URL(chat.page.url()).searchParams.get("budget")).toBe(String(2 * least.recordBytes));
  await expect(chat.answers).toHaveCount(1);

  await chat.page.getByRole("button", { name: "New chat" }).click();
  expect(await chat.ask(question)).toBe(resident);
  const end = await chat.event("mixtab-answer", 2);
  expect(end.usage?.mixtab.decode.misses).toBeGreaterThan(first.usage?.mixtab.decode.misses ?? 0);
  expect(end.usage?.mixtab.decode.uploadedBytes).toBe((end.usage?.mixtab.decode.uploads ?? 0) * least.recordBytes);
  await expect(chat.page.getByRole("table")).toContainText("Uploads");
  const { decode, residentExperts } = (await chat.events("mixtab-stats")).at(-1) ?? {
    decode: null,
    residentExperts: 0,
  };
  expect(decode).toEqual(end.usage?.mixtab.decode);
  expect(residentExperts).toBeLessThanOrEqual(least.slots);
});

test("a budget that moves while an answer is made ends it, and the next answer comes from the new pool", async ({
  chat,
  open,
}) => {
  await open(CPU);
  await chat.ask("Tell me a story about Mia and the kite.", false);
  await chat.page.evaluate(async () => (await reached(10)).setAttribute("budget", "1MB"));
  await expect(chat.answers.first()).toContainText("Stopped.");
  const ready = await chat.event("mixtab-ready", 2);
  expect(ready.slots).toBe(Math.floor(1e6 / ready.recordBytes));
  await chat.page.getByRole("button", { name: "New chat" }).click();
  expect(await chat.ask("Hello!")).toBe(golden("Hello!"));
});
