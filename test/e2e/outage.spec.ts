import { CPU, expect, golden, test, WEIGHTS } from "./page.ts";

test("after an outage the page says what it waits for, and goes on when the browser comes online", async ({
  chat,
  open,
  site,
}) => {
  const slow = site.rule({ path: WEIGHTS, bytesPerSecond: 400_000, largerThan: 20_000 });
  await open(CPU);
  await chat.event("mixtab-ready");
  slow();
  // Of itself it would try again only when this test is over.
  const recovered = site.rule({ path: WEIGHTS, status: 503, headers: { "Retry-After": "60" } });
  const element = chat.page.locator("mixtab-chat");
  await expect(element.locator(".words")).toContainText(/next try in \d+ s\. The server answered 503/);
  const button = element.getByRole("button", { name: "Try now" });
  await expect(button).toBeVisible();
  const tried = async (act: () => Promise<void>) => {
    const before = site.log.length;
    await act();
    await expect.poll(() => site.log.length).toBeGreaterThan(before);
    await expect(element.locator(".words")).toContainText(/next try in \d\d s/);
  };
  await tried(() => button.dispatchEvent("click"));
  await tried(() => chat.page.evaluate(() => void document.dispatchEvent(new Event("visibilitychange")))); // to visible
  recovered();
  await chat.page.evaluate(() => dispatchEvent(new Event("online")));
  await chat.filled();
  await expect(button).toBeHidden();
  expect(await chat.ask("Hello!")).toBe(golden("Hello!"));
});
