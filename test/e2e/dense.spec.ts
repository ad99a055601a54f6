import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve } from "../support/serve.mjs";
import { expect, test } from "./page.ts";

const FIXTURE = "test/fixtures/hf/mistral";
const WORDS = 256;

test("of a dense model nothing of the pool is shown, and it answers as well", async ({ chat, site }) => {
  const folder = mkdtempSync(join(tmpdir(), "mixtab-dense-"));
  for (const name of ["config.json", "generation_config.json", "model.safetensors"])
    copyFileSync(join(FIXTURE, name), join(folder, name));
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(letters()));
  const template =
    "{% for message in messages %}{{ message.content }}{% endfor %}" +
    "{% if 'hmm' in messages[-1].content %}<think>{% else %}<think></think>{% endif %}";
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ chat_template: template }));
  const server = await serve({ root: folder });
  try {
    const query = new URLSearchParams({ model: server.origin, device: "cpu", temperature: "0", "max-tokens": "12" });
    await chat.page.goto(`${site.origin}/demo/?${query}`);
    expect(await chat.event("mixtab-ready")).toMatchObject({ experts: 0, slots: 0 });
    expect(await chat.ask("abc")).not.toBe("");
    await expect(chat.answers.first()).toContainText("12 tokens");
    await expect(chat.answers.first()).not.toContainText("hits");
    for (const part of [chat.gauges, chat.slider, chat.page.locator("#pool")]) await expect(part).toBeHidden();
    await expect(chat.page.locator("#facts")).toContainText("none: every token runs through all weights");
    await expect(chat.page.locator("#facts")).not.toContainText("slots");

    await expect(chat.answers.first().getByText("Reasoning")).toBeHidden();

    // A model that thinks first: its reasoning is folded above the answer, which here does not come.
    await chat.ask("hmm");
    const thinking = chat.answers.nth(1);
    await expect(thinking.locator(".thoughts")).toBeHidden();
    await thinking.getByText("Reasoning").click();
    await expect(thinking.locator(".thoughts")).toHaveText(/./);
    expect(await chat.text(1)).toBe("");
    await expect(thinking).toContainText("12 tokens");

    await chat.page.locator("mixtab-chat").evaluate((element) => element.setAttribute("budget", "1MB"));
    expect((await chat.event("mixtab-budget")).slots).toBe(0);
    await expect(chat.alert).toBeEmpty();
    await chat.page.locator("mixtab-chat").evaluate((element) => {
      element.removeAttribute("budget");
      element.setAttribute("model", "./models/storyteller-moe");
    });
    expect((await chat.event("mixtab-ready", 2)).experts).toBe(8);
    for (const part of [chat.gauges, chat.slider, chat.page.locator("#pool")]) await expect(part).toBeVisible();
  } finally {
    await server.close();
    rmSync(folder, { recursive: true });
  }
});

/** A tokenizer of single letters, as many as the fixture has ids. */
function letters() {
  const words = ["<unk>", "<s>", "</s>", ..."abcdefghijklmnopqrstuvwxyz"];
  while (words.length < WORDS) words.push(String.fromCodePoint(0x370 + words.length));
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: "1.0",
    added_tokens: words.slice(0, 3).map((content, id) => ({ id, content, ...special })),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: "Fuse" },
    model: { type: "BPE", unk_token: "<unk>", vocab: Object.fromEntries(words.map((w, i) => [w, i])), merges: [] },
  };
}
