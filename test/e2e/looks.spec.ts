import { expect, test, WEIGHTS } from "./page.ts";

/** Pictures to be looked at by a person: test-results/looks. What can be counted is checked: nothing sticks out sideways. */
for (const colorScheme of ["light", "dark"] as const)
  for (const [width, height] of [
    [1280, 800],
    [390, 844],
  ] as const)
    test(`${colorScheme}, ${width} pixels wide`, async ({ chat, open, site }) => {
      const { page } = chat;
      const picture = (name: string, fullPage = false) =>
        page.screenshot({ path: `test-results/looks/${colorScheme}-${width}-${name}.png`, fullPage });
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height });
      const slow = site.rule({ path: WEIGHTS, bytesPerSecond: 1_000_000 });
      await open("?temperature=0&max-tokens=90&budget=1MB");
      await expect(chat.progress).toBeVisible();
      await expect(chat.send).toBeInViewport({ ratio: 1 });
      await picture("1-loading");
      slow();
      await chat.ask("Hello!");
      await chat.ask("Tell me a story about Lily and the cat.", false);
      await expect.poll(async () => (await chat.text(1)).length, { intervals: [50] }).toBeGreaterThan(100);
      await picture("2-answering");
      await chat.ended(1);
      const sideways = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      expect(sideways).toBeLessThanOrEqual(0);
      await picture("3-answered", width === 390);
      await page.locator("mixtab-chat").evaluate((element) => element.setAttribute("model", "./models/nowhere"));
      await expect(chat.alert).toContainText("not-found");
      await picture("4-not-found");
    });
