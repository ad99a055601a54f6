import { EITHER, expect, test, WEIGHTS } from "./page.ts";

const SIZES = [
  { width: 1280, height: 800 },
  { width: 390, height: 844 },
];

/** What can be counted in a picture is checked; the rest is for a person to look at, in test-results/looks. */
test("by day and by night, wide and narrow, nothing sticks out and Send stays in reach", async ({
  chat,
  open,
  site,
}) => {
  const { page } = chat;
  const pictures = async (name: string): Promise<void> => {
    for (const size of SIZES)
      for (const colorScheme of ["light", "dark"] as const) {
        await page.setViewportSize(size);
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: `test-results/looks/${name}-${colorScheme}-${size.width}.png` });
        const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        expect(sideways, `${name}, ${size.width} pixels wide`).toBeLessThanOrEqual(0);
        await expect(chat.send.or(chat.stop)).toBeInViewport({ ratio: 1 });
      }
  };

  const slow = site.rule({ path: WEIGHTS, bytesPerSecond: 60_000 });
  await open(`${EITHER}&max-tokens=100&budget=1MB`);
  await expect(chat.progress).toHaveAttribute("aria-valuetext", /Loading .* from network/);
  await pictures("1-loading");
  slow();
  await chat.ask("Hello!");
  await chat.ask("Tell me a story about Lily and the cat.", false);
  await expect.poll(async () => (await chat.text(1)).length, { intervals: [50] }).toBeGreaterThan(100);
  await pictures("2-answering");
  await chat.ended(1);
  await pictures("3-answered");
  await page.screenshot({ path: "test-results/looks/3-answered-whole-390.png", fullPage: true });
  await page.locator("mixtab-chat").evaluate((element) => element.setAttribute("model", "./models/nowhere"));
  await expect(chat.alert).toContainText("not-found");
  await pictures("4-not-found");
});
