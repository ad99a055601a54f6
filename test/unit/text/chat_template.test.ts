import { describe, expect, it } from "vitest";
import { loadChatTemplate, pickChatTemplate, type RenderOptions } from "../../../src/text/chat_template.ts";
import { strftime } from "../../../src/text/strftime.ts";
import { templateSource } from "./fixtures.ts";

const user = { role: "user", content: "hi" };
const noon = () => new Date(2025, 0, 5, 12, 7, 9);
const render = (source: string, options: Partial<RenderOptions> = {}) =>
  loadChatTemplate(source, { bosToken: "<s>" }, noon).render([user], { addGenerationPrompt: false, ...options });
const code = (name: string, message = "") =>
  expect.objectContaining({ name: "MixtabError", code: name, message: expect.stringContaining(message) });

describe("a chat template", () => {
  it("gets the tokens, the options and its own variables", () => {
    const source =
      "{{ bos_token }}|{{ eos_token is defined }}|{{ add_generation_prompt }}|{{ enable_thinking }}|{{ tools is none }}";
    expect(render(source, { enable_thinking: false })).toBe("<s>|false|false|false|true");
    expect(render("{{ tools | length }}", { tools: [{ type: "function" }] })).toBe("1");
    expect(render("{{ bos_token }}", { bos_token: "<begin>" })).toBe("<begin>");
  });

  it("has range and strftime_now, in English whatever the machine speaks", () => {
    expect(render("{% for i in range(5, 0, -2) %}{{ i }},{% endfor %}{{ range(3) | length }}")).toBe("5,3,1,3");
    expect(render("{{ strftime_now('%d %b %Y') }}")).toBe("05 Jan 2025");
    expect(loadChatTemplate("{{ strftime_now('%Y') }}", {}).render([user], { addGenerationPrompt: false })).toBe(
      String(new Date().getFullYear()),
    );
  });

  it("refuses an empty or malformed conversation, as bad-messages", () => {
    const template = loadChatTemplate("fine", {});
    const options = { addGenerationPrompt: true };
    expect(() => template.render([], options)).toThrow(code("bad-messages", "empty"));
    expect(() => template.render("hello" as never, options)).toThrow(code("bad-messages", "not a list"));
    expect(() => template.render([null as never], options)).toThrow(code("bad-messages", "not a list"));
  });

  it("turns what it raises into bad-messages, with its message", () => {
    expect(() => render("{{ raise_exception('Only one turn!') }}")).toThrow(code("bad-messages", "Only one turn!"));
  });

  it("that does not parse, or fails by itself, is a bad-template", () => {
    expect(() => loadChatTemplate("{% for %}", {})).toThrow(code("bad-template", "does not parse"));
    expect(() => render("{{ messages | no_such_filter }}")).toThrow(code("bad-template", "no_such_filter"));
    expect(() => render("{{ nothing() }}")).toThrow(code("bad-template"));
    expect(() => render("{% for i in range(1000000000) %}{% endfor %}")).toThrow(code("bad-template", "range()"));
    expect(() => render("{% for i in range(0, 9, 0) %}{% endfor %}")).toThrow(code("bad-template", "range()"));
  });
});

describe("continuing the final message", () => {
  const template = loadChatTemplate(templateSource("chatml"), { eosToken: "<|im_end|>" });
  const goOn = { addGenerationPrompt: false, continueFinalMessage: true };

  it("ends the text with it, and leaves the caller's messages alone", () => {
    const messages = [user, { role: "assistant", content: "Well, " }];
    expect(template.render(messages, goOn)).toMatch(/<\|im_start\|>assistant\nWell, $/);
    expect(messages[1]).toEqual({ role: "assistant", content: "Well, " });
  });

  it("trims where the template trims", () => {
    const continued = (source: string) =>
      loadChatTemplate(source, {}).render([{ role: "assistant", content: "hi " }], goOn);
    expect(continued("{{ messages[0].content | trim }}|END")).toBe("hi");
    expect(continued("{{ messages[0].content }}|END")).toBe("hi ");
  });

  it("goes on with the last text of a content in parts", () => {
    const parts = [{ type: "text", text: "a" }, { type: "text", text: "b" }, { type: "image" }];
    const source = "{% for part in messages[0].content %}{{ part.text }};{% endfor %}";
    const text = loadChatTemplate(source, {}).render([{ role: "assistant", content: parts }], goOn);
    expect(text).toBe("a;b");
  });

  it("refuses what cannot be continued", () => {
    expect(() => template.render([{ role: "assistant", content: null }], goOn)).toThrow(
      code("bad-messages", "no text"),
    );
    expect(() => render("nothing of it", goOn)).toThrow(code("bad-messages", "leaves out"));
    expect(() => render("x", { ...goOn, addGenerationPrompt: true })).toThrow(code("bad-request"));
  });
});

describe("of the files of a model", () => {
  it("chat_template.jinja wins, then the text, then the one named default", () => {
    const several = [
      { name: "tool_use", template: "T" },
      { name: "default", template: "D" },
    ];
    expect(pickChatTemplate({ tokenizerConfig: { chat_template: "C" }, jinja: "J" })).toBe("J");
    expect(pickChatTemplate({ tokenizerConfig: { chat_template: "C" }, jinja: undefined })).toBe("C");
    expect(pickChatTemplate({ tokenizerConfig: { chat_template: several } })).toBe("D");
  });

  it("none may have a template", () => {
    const configs = [undefined, null, {}, { chat_template: null }, { chat_template: [] }];
    for (const tokenizerConfig of configs) expect(pickChatTemplate({ tokenizerConfig })).toBeUndefined();
  });

  it("a malformed entry is a bad-template", () => {
    const pick = (chat_template: unknown) => () => pickChatTemplate({ tokenizerConfig: { chat_template } });
    expect(pick(7)).toThrow(code("bad-template"));
    expect(pick([{ name: "default" }])).toThrow(code("bad-template"));
    expect(pick([{ name: "rag", template: "R" }])).toThrow(code("bad-template", "only rag"));
  });
});

describe("strftime", () => {
  it.each([
    ["%Y-%m-%d", "2025-01-05"],
    ["%A, %B %d, %y", "Sunday, January 05, 25"],
    ["%a %b %e", "Sun Jan  5"],
    ["%-d %B, %-I:%M %p", "5 January, 12:07 PM"],
    ["%H:%M:%S = %T, %F", "12:07:09 = 12:07:09, 2025-01-05"],
    ["day %j, %-j", "day 005, 5"],
    ["100%% %Q %", "100% %Q %"],
  ])("writes %s", (format, text) => {
    expect(strftime(noon(), format)).toBe(text);
  });
});
