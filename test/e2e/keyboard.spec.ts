import { CPU, expect, golden, test } from "./page.ts";

test("everything can be done from the keyboard, and every part has a name", async ({ chat, open }) => {
  await open(CPU);
  const { page } = chat;
  await expect(page.getByRole("log", { name: "Conversation" })).toHaveAttribute("aria-live", "polite");
  await expect(page.getByRole("group", { name: "Suggestions" }).getByRole("button")).toHaveCount(3);

  await chat.input.focus();
  await page.keyboard.type("Tell me a story about Mia and the");
  await page.keyboard.press("Shift+Enter");
  await expect(chat.answers).toHaveCount(0);
  await page.keyboard.press("Backspace");
  await page.keyboard.type(" kite.");
  await page.keyboard.press("Enter");
  await expect(chat.questions).toHaveText(["You: Tell me a story about Mia and the kite."]);
  await expect(chat.input).toHaveValue("");
  const log = page.getByRole("log");
  expect(await page.evaluate(async () => (await reached(1)).shadowRoot?.querySelector(".log")?.ariaBusy)).toBe("true");
  await page.keyboard.insertText("Hello!");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Escape");
  await expect(chat.questions).toHaveCount(1);
  await expect(chat.answers.first()).toContainText("Stopped.");
  await expect(log).toHaveAttribute("aria-busy", "false");

  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await expect(page.getByRole("button", { name: "New chat" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(chat.input).toHaveValue("Hello!");
  await chat.input.press("Enter");
  expect(await chat.ended(0)).toBe(golden("Hello!"));
});

test("markup in a question stays text", async ({ chat, open }) => {
  await open(`${CPU}&max-tokens=1`);
  await chat.ask("<img src=x onerror=alert(1)> & <b>Hello!</b>");
  await expect(chat.questions).toHaveText(["You: <img src=x onerror=alert(1)> & <b>Hello!</b>"]);
  await expect(chat.page.locator("mixtab-chat img")).toHaveCount(0);
});
