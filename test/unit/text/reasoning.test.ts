import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { partingOf, type Said } from "../../../src/text/reasoning.ts";
import type { Tokenizer } from "../../../src/text/tokenizer.ts";

/** A tokenizer whose ids are code points, but for some tokens with an id of their own. */
function tokenizerWith(tokens: Readonly<Record<string, { readonly id: number; readonly special: boolean }>>) {
  const text = (id: number): string => {
    const [token, entry] = Object.entries(tokens).find(([, known]) => known.id === id) ?? [];
    if (token === undefined) return String.fromCodePoint(id);
    return entry!.special ? "" : token;
  };
  const idOf = (token: string) => tokens[token]?.id;
  const decode = (ids: readonly number[]) => ids.map(text).join("");
  return { tokenizer: { idOf, decode } as unknown as Tokenizer, text, idOf };
}

/** What comes of an answer, written as text in which tokens stand for themselves. */
function part(tokens: Parameters<typeof tokenizerWith>[0], template: string, prompt: string, answer: string) {
  const { tokenizer, text, idOf } = tokenizerWith(tokens);
  const parting = partingOf(tokenizer, template)(prompt);
  const said: Said[] = [];
  for (let at = 0; at < answer.length; ) {
    const token = Object.keys(tokens).find((each) => answer.startsWith(each, at)) ?? answer[at]!;
    const id = idOf(token) ?? token.codePointAt(0)!;
    said.push(...parting.push(id, text(id)));
    at += token.length;
  }
  said.push(...parting.flush(""));
  const of = (which: Said["part"]) => said.filter((piece) => piece.part === which).map((piece) => piece.text);
  return { reasoning: of("reasoning").join(""), content: of("content").join(""), said };
}

const THINK = { "<think>": { id: -1, special: false }, "</think>": { id: -2, special: false } };
const HARMONY = Object.fromEntries(
  ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>", "<|constrain|>"].map(
    (token, index) => [token, { id: -1 - index, special: true }] as const,
  ),
);

describe("tags", () => {
  test.each([
    ["tokens of their own", THINK],
    [
      "special tokens, which decoded text lacks",
      { "<think>": { id: -1, special: true }, "</think>": { id: -2, special: true } },
    ],
    ["letters, where only the template names them", {}],
  ])("that are %s part reasoning from answer", (_, tokens) => {
    const answer = "<think>\nOne and one.\n</think>\n\nIt is 2 < 3.";
    const { reasoning, content } = part(tokens, "… </think> …", "<|im_start|>assistant\n", answer);
    expect(reasoning).toBe("One and one.\n");
    expect(content).toBe("It is 2 < 3.");
  });

  test("an answer begins within the reasoning that the template has opened", () => {
    expect(part(THINK, "", "assistant\n<think>\n", "Hm.</think>Yes.")).toMatchObject({
      reasoning: "Hm.",
      content: "Yes.",
    });
    const closed = part(THINK, "", "assistant\n<think>\n\n</think>\n\n", "Yes.");
    expect(closed).toMatchObject({ reasoning: "", content: "Yes." });
  });

  test("text that only resembles a tag, or comes later, is the answer's", () => {
    for (const answer of ["<thin ice", " <", "I <think>so</think>", "no tags\n"])
      expect(part({}, "</think>", "", answer)).toMatchObject({ reasoning: "", content: answer });
    expect(part({}, "no tags at all", "", "<think>a</think>b").content).toBe("<think>a</think>b");
  });

  test("reasoning that never ends is reasoning to the end, a begun tag with it", () => {
    expect(part({}, "</think>", "", "<think>so on </thi")).toMatchObject({ reasoning: "so on </thi", content: "" });
  });

  test("each model's own tags", () => {
    for (const [open, close] of [
      ["[THINK]", "[/THINK]"],
      ["◁think▷", "◁/think▷"],
    ] as const)
      expect(part({}, `${open}${close}`, "", `${open}a${close}b`)).toMatchObject({ reasoning: "a", content: "b" });
  });

  test("nothing is lost or held back longer than a tag, wherever tokens end", () => {
    const clean = fc.string({ unit: fc.constantFrom("a", "<", "/", "t", " b", ">"), maxLength: 20 });
    fc.assert(
      fc.property(clean, clean, (thought, answer) => {
        fc.pre(!`${thought}</think>`.slice(0, -1).includes("</think>"));
        const { reasoning, content } = part({}, "</think>", "", `<think>${thought}</think>${answer}`);
        expect(reasoning).toBe(thought.trimStart());
        expect(content).toBe(answer.trimStart());
      }),
    );
  });
});

describe("channels", () => {
  const of = (answer: string) => part(HARMONY, "", "<|start|>assistant", answer);

  test("analysis is reasoning, final the answer; headers are neither", () => {
    const answer =
      "<|channel|>analysis<|message|>Simple.<|end|><|start|>assistant<|channel|>final<|message|>It is 2.<|return|>";
    expect(of(answer)).toMatchObject({ reasoning: "Simple.", content: "It is 2." });
  });

  test("what precedes a call is shown, and a header may say more than the channel", () => {
    const answer = "<|channel|>commentary to=user <|constrain|>json<|message|>I will look.<|end|>";
    expect(of(answer)).toMatchObject({ reasoning: "", content: "I will look." });
  });

  test("a message without a channel is the answer, a cut header nothing", () => {
    expect(of("<|message|>Hello.")).toMatchObject({ reasoning: "", content: "Hello." });
    expect(of("<|channel|>analysis<|message|>a<|end|><|start|>assis")).toMatchObject({ reasoning: "a", content: "" });
  });
});
