import { CHROMIUM_FLAGS, findChromium } from "../support/chromium.mjs";
import { expect, golden, test } from "./page.ts";

const executablePath = findChromium();
const args = CHROMIUM_FLAGS.filter((flag) => !flag.includes("webgpu"));
test.use({
  launchOptions: { ...(executablePath ? { executablePath } : {}), args: [...args, "--disable-features=WebGPU"] },
});

test("without WebGPU the page says so in plain words, and the processor tells the same story", async ({
  chat,
  open,
}) => {
  await open("?temperature=0&max-tokens=40");
  expect(await chat.ask("Who are you?")).toBe(golden("Who are you?"));
  expect(await chat.events("mixtab-ready")).toMatchObject([{ device: "cpu" }]);
  await expect(chat.page.getByText("This browser offers no WebGPU here")).toBeVisible();
  await expect(chat.status).toContainText("on the processor");
  await expect(chat.alert).toBeEmpty();
});

test("asking for the GPU where there is none is an error with a name", async ({ chat, open }) => {
  await open("?device=gpu");
  await expect(chat.alert).toContainText("no-webgpu");
  await expect(chat.status).toHaveText("No model");
});
