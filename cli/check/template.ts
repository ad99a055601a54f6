import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { MixtabError } from "../../src/base/errors.ts";
import { casesOf } from "./cases.ts";
import type { Kind } from "./kind.ts";
import { checkTemplateGolden, linesOf, type TemplateCase } from "./text_goldens.ts";

/**
 * Conversations as a chat template renders them. x.json belongs to x.jinja, which lies beside it or
 * in <fixtures>/chat_templates.
 */
export const template: Kind = {
  looksLike: "a chat template's golden .json",

  recognises(path) {
    const [first] = casesOf(path);
    return first !== undefined && "messages" in first;
  },

  async *check(path, { fixtures }) {
    yield* linesOf("template", checkTemplateGolden(templateFor(path, fixtures), casesOf(path) as TemplateCase[]));
  },
};

function templateFor(path: string, fixtures = join(dirname(path), "..")): string {
  const name = `${basename(path, ".json")}.jinja`;
  const places = [join(dirname(path), name), join(fixtures, "chat_templates", name)];
  const file = places.find((candidate) => existsSync(candidate));
  if (file) return readFileSync(file, "utf8");
  throw new MixtabError("not-found", `No template ${name} beside ${path} or under --fixtures.`);
}
