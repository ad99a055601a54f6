import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { NotInstalled } from "../../../cli/check/kind.ts";
import { KINDS, kindOf } from "../../../cli/check/kinds.ts";
import { malformed } from "../../../cli/check/malformed.ts";
import { model } from "../../../cli/check/model.ts";
import { template } from "../../../cli/check/template.ts";
import { tokens } from "../../../cli/check/tokens.ts";
import { gathered } from "../../support/gathered.ts";

const fixture = (path: string) => join(import.meta.dirname, "../../fixtures", path);
const options = { device: "cpu", slots: undefined, chunk: undefined, fixtures: undefined, model: undefined } as const;

test.each([
  ["hf/mixtral_odd", model],
  ["storyteller-moe/mlx-4bit", model],
  ["safetensors_malformed", malformed],
  ["chat_templates/chatml.json", template],
  ["tokenizers/goldens/olmoe.json", tokens],
  ["tokenizers/goldens/olmoe.stream.json", tokens],
])("%s is recognised, by one kind alone", (path, kind) => {
  expect(kindOf(fixture(path))).toBe(kind);
  expect(KINDS.filter((one) => one.recognises(fixture(path)))).toEqual([kind]);
});

test.each([
  "hf",
  "hf/mixtral_odd/golden.json",
  "hf/mixtral_odd/model.safetensors",
  "atenia/full_mixtral.json",
  "tokenizers/stories260k/tokenizer.json",
  "chat_templates/chatml.jinja",
  "nowhere",
])("%s is no golden", (path) => {
  expect(kindOf(fixture(path))).toBeUndefined();
});

test("malformed files have a line each, conversations one in all", async () => {
  const refusals = await gathered(malformed.check(fixture("safetensors_malformed"), options));
  const files = readdirSync(fixture("safetensors_malformed")).filter((name) => name.endsWith(".safetensors"));
  expect(refusals).toHaveLength(files.length);
  expect(refusals.filter((line) => typeof line === "string" || !line.ok)).toEqual([]);
  const chatml = await gathered(template.check(fixture("chat_templates/chatml.json"), options));
  expect(chatml).toEqual([{ quantity: "template", ok: true, text: "18 of 18 pass" }]);
});

test("a tokenizer that no index has is not-found, one of a missing package is skipped", async () => {
  const fixtures = mkdtempSync(join(tmpdir(), "mixtab-"));
  const write = (name: string, json: unknown) => writeFileSync(join(fixtures, name), JSON.stringify(json));
  const check = () => gathered(tokens.check(join(fixtures, "x.json"), { ...options, fixtures }));
  write("x.json", [{ text: "", add_special_tokens: false, ids: [], decoded: "", decoded_skip_special: "" }]);
  expect(kindOf(join(fixtures, "x.json"))).toBe(tokens);
  await expect(check()).rejects.toMatchObject({ code: "not-found" });
  write("index.json", { x: { tokenizer: "tokenizer.json", package: "mixtab-has-no-such-package" } });
  await expect(check()).rejects.toThrow(NotInstalled);
  rmSync(fixtures, { recursive: true });
});
