import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { dialogues } from "../../../cli/check/dialogues.ts";
import { NotInstalled } from "../../../cli/check/kind.ts";
import { kindOf } from "../../../cli/check/kinds.ts";
import { measure } from "../../../cli/perplexity/measure.ts";
import { readLanguage } from "../../../src/engine/language.ts";
import { loadModel } from "../../../src/engine/load.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { directorySource } from "../../../src/source/directory.ts";
import { gathered } from "../../support/gathered.ts";

const model = join(import.meta.dirname, "../../fixtures/storyteller-moe/mlx-4bit");
const folder = mkdtempSync(join(tmpdir(), "mixtab-dialogues-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Chat {
  readonly title?: string;
  readonly messages: readonly { readonly role: "user" | "assistant"; readonly content: string }[];
  readonly prompt_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly text: string;
}

/** A golden of conversations about the story model, of what its own golden has; nothing of it comes from mixtab but the perplexity. */
async function golden() {
  const source = directorySource(model);
  const { chats } = JSON.parse((await source.text("golden.json"))!) as { chats: readonly Chat[] };
  const speaker = cpuSpeaker();
  const loaded = await loadModel(speaker, source, null, { quantize: false, contextLength: 128 });
  const { tokenizer } = readLanguage(loaded.repository);
  const { ids, from } = { ids: chats[0]!.greedy_ids, from: 1 };
  const { perplexity } = await measure({ speaker, loaded }, [{ ids, from }]);
  return {
    prompts: chats.slice(0, 2).map(({ messages, prompt_ids, greedy_ids, text }, index) => ({
      name: `chat ${index}`,
      messages,
      prompt_text: tokenizer.decode(prompt_ids, { skipSpecialTokens: false }),
      prompt_ids,
      best_logits: [] as [number, number][],
      greedy_ids,
      greedy_text: text,
    })),
    perplexity: {
      text: tokenizer.decode(ids, { skipSpecialTokens: false }),
      ids,
      transformers_float32: perplexity,
    },
  };
}

async function failures(json: object, name: string) {
  const path = join(folder, `${name}.json`);
  writeFileSync(path, JSON.stringify(json));
  expect(kindOf(path)).toBe(dialogues);
  const options = { device: "cpu", slots: undefined, chunk: undefined, fixtures: undefined, model } as const;
  const lines = (await gathered(dialogues.check(path, options))).filter((line) => typeof line !== "string");
  return lines.filter(({ ok, quantity }) => !ok && !quantity.endsWith(": prompt")).map(({ quantity }) => quantity);
}

test("a real model's conversations are held to ids, words and perplexity", async () => {
  const right = await golden();
  expect(await failures(right, "right")).toEqual([]);
  const [first, second] = right.prompts;
  const wrong = {
    prompts: [
      { ...first!, greedy_ids: [...first!.greedy_ids.slice(0, -1), 77] },
      { ...second!, prompt_ids: [...second!.prompt_ids, 5], best_logits: [[3, 99]] },
    ],
    perplexity: { ...right.perplexity, transformers_float32: right.perplexity.transformers_float32 * 1.01 },
  };
  const failed = await failures(wrong, "wrong");
  expect(failed).toContain("chat 0: greedy ids");
  expect(failed).toContain("chat 1: prompt ids");
  expect(failed).toContain("chat 1: best logits");
  expect(failed).toContain("perplexity");
});

test("without a model it is skipped, saying what to name", async () => {
  const path = join(folder, "alone.json");
  writeFileSync(path, JSON.stringify(await golden()));
  const options = { device: "cpu", slots: undefined, chunk: undefined, fixtures: undefined, model: undefined } as const;
  await expect(gathered(dialogues.check(path, options))).rejects.toThrow(NotInstalled);
});
