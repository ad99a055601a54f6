import { serve } from "../support/serve.mjs";
import { expect, golden, test } from "./page.ts";

test("one script tag puts the chat on a bare page of another origin", async ({ chat, site }) => {
  const model = `${site.origin}/demo/models/storyteller-moe`;
  const html = `<!doctype html><title>Elsewhere</title><script type="module" src="${site.origin}/lib/widget.js"></script>
    <mixtab-chat model="${model}" budget="1MB" temperature="0" max-tokens="40" device="cpu"></mixtab-chat>`;
  const elsewhere = await serve({ pages: { "/": html } });
  try {
    await chat.page.goto(elsewhere.origin);
    expect(await chat.ask("Hello!")).toBe(golden("Hello!"));
    expect(await chat.events("mixtab-ready")).toMatchObject([{ device: "cpu", experts: 8 }]);
    expect(elsewhere.log.map(({ path }) => path).filter((path) => path !== "/favicon.ico")).toEqual(["/"]);

    await chat.page.locator("mixtab-chat").evaluate(async (element) => {
      const engine = (await Reflect.get(element, "engine")) as { stats(): Promise<unknown> };
      element.remove();
      await new Promise((later) => setTimeout(later));
      Object.assign(globalThis, { after: engine.stats().catch((error: { code?: string }) => error.code) });
    });
    expect(await chat.page.evaluate("after")).toBe("closed");
  } finally {
    await elsewhere.close();
  }
});

test("a model on a server without CORS is a named error that says what to do", async ({ chat, site }) => {
  const shy = await serve({ root: "dist/demo", cors: false });
  try {
    const model = encodeURIComponent(`${shy.origin}/models/storyteller-moe`);
    await chat.page.goto(`${site.origin}/demo/?model=${model}`);
    await expect(chat.alert).toContainText("network");
    await expect(chat.alert.getByRole("button", { name: "Retry" })).toBeVisible();
  } finally {
    await shy.close();
  }
});
