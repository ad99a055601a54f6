import { describe, expect, it } from "vitest";
import { checkStreamGolden, checkTemplateGolden, checkTokenizerGolden } from "../../../cli/check/text_goldens.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";
import * as fixtures from "./fixtures.ts";

describe.each(fixtures.tokenizerNames)("the tokenizer %s", (name) => {
  const tokenizer = fixtures.openTokenizer(name);
  const isByteLevel = name === "olmoe";

  it("gives the goldens' ids and texts", () => {
    const { cases, passed, exempted, failures } = checkTokenizerGolden(tokenizer, fixtures.tokenizerCases(name));
    expect(failures).toEqual([]);
    expect({ cases, passed, exempted }).toEqual({ cases, passed: name === "stories260k" ? 48 : 143, exempted: [] });
  });

  it("shows every character with its last byte", () => {
    const { passed, exempted, failures } = checkStreamGolden(tokenizer, fixtures.streamCases(name));
    expect(failures).toEqual([]);
    expect(passed).toBe(isByteLevel ? 22 : 24);
    expect(exempted).toEqual(isByteLevel ? [] : ["valid character, then a stray byte"]);
  });
});

describe("the chat templates", () => {
  it.each([
    ["mixtral-instruct", 18, []],
    ["mistral-v3", 29, []],
    ["qwen3", 38, []],
    ["olmoe-instruct", 18, []],
    ["chatml", 18, []],
    ["gpt-oss", 31, ["result is an object"]],
  ])("%s renders its conversations as Python does", (name, count, floats) => {
    const { passed, exempted, failures } = checkTemplateGolden(
      fixtures.templateSource(name),
      fixtures.templateCases(name),
    );
    expect(failures).toEqual([]);
    expect({ passed, exempted }).toEqual({ passed: count, exempted: floats });
  });

  it("are all in the table above", () => {
    expect(fixtures.templateNames).toHaveLength(6);
  });
});

describe("the golden checks see", () => {
  const good = fixtures.openTokenizer("stories260k");
  const cases = fixtures.tokenizerCases("stories260k");
  const streams = fixtures.streamCases("stories260k");
  const stream = (change: (piece: string, at: number) => string): Tokenizer => ({
    ...good,
    stream: (options) => {
      const inner = good.stream(options);
      let at = -1;
      return {
        push: (id) => {
          at += 1;
          return change(inner.push(id), at);
        },
        flush: () => inner.flush(),
      };
    },
  });

  it("a wrong id, and a text that is not decoded", () => {
    const shifted = { ...good, encode: () => [7] };
    expect(checkTokenizerGolden(shifted, cases).failures).toHaveLength(cases.length);
    const throwing: Tokenizer = {
      ...good,
      decode: () => {
        throw new Error("no");
      },
    };
    const { passed, failures } = checkTokenizerGolden(throwing, cases);
    expect(passed).toBe(0);
    expect(failures[0]).toEqual({ title: 'text of the ids of ""', expected: '"<s>"', got: '"threw no"' });
  });

  it("a character that comes one token late, and one that is made up", () => {
    let held = "";
    const late = stream((piece, at) => {
      const shown = at === 0 ? "" : held;
      held = piece;
      return shown;
    });
    const strict = streams.filter((c) => c.strict_timing);
    expect(checkStreamGolden(late, strict).passed).toBe(0);
    const invented = stream((piece) => piece.replace(/\ufffd\ufffd/, "é"));
    expect(checkStreamGolden(invented, streams).failures).toHaveLength(3);
  });

  it("that a text taken for U+FFFD too late is also cut short", () => {
    const stray = streams.filter((c) => c.title.includes("then a stray byte"));
    expect(checkStreamGolden(good, stray)).toMatchObject({ passed: 0, exempted: [stray[0]?.title], failures: [] });
    const cut = stream((piece, at) => (at < 4 ? piece : ""));
    expect(checkStreamGolden(cut, stray)).toMatchObject({ passed: 0, exempted: [], failures: [{}] });
  });

  it("a number that differs in more than its format", () => {
    const check = (source: string, text: string) => {
      const messages = [{ role: "user", content: { half: 0.5, two: 2, tiny: 1.5e-7 } }];
      const c = { title: "t", messages, add_generation_prompt: false, bos_token: null, eos_token: null, text };
      const { passed, exempted, failures } = checkTemplateGolden(source, [c]);
      return [passed, exempted.length, failures.length];
    };
    const values = "{{ messages[0].content.two }} {{ messages[0].content.tiny }}";
    expect(check(values, "2 1.5e-7")).toEqual([1, 0, 0]);
    expect(check(values, "2.0 1.5e-07")).toEqual([0, 1, 0]);
    expect(check(values, "3.0 1.5e-07")).toEqual([0, 0, 1]);
    expect(check(values, "2.0  1.5e-07")).toEqual([0, 0, 1]);
    expect(check("3", "3.0")).toEqual([0, 0, 1]);
    expect(check("7 {{ messages[0].content.tiny }}", "2.0 1.5e-07")).toEqual([0, 0, 1]);
    expect(check("2", "02")).toEqual([0, 0, 1]);
  });

  it("an error that should have been thrown, and one with another message", () => {
    const messages = [{ role: "user", content: "hi" }];
    const c = {
      title: "t",
      messages,
      add_generation_prompt: false,
      bos_token: null,
      eos_token: null,
      error: "no users",
    };
    expect(checkTemplateGolden("fine", [c]).failures).toEqual([
      { title: "t", expected: "error no users", got: "fine" },
    ]);
    expect(checkTemplateGolden("{{ raise_exception('no dogs') }}", [c]).failures).toHaveLength(1);
    expect(checkTemplateGolden("{{ raise_exception('no users') }}", [c]).passed).toBe(1);
  });
});
