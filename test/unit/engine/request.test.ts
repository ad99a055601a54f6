import { expect, test } from "vitest";
import type { ChatRequest } from "../../../src/engine/api.ts";
import { readRequest } from "../../../src/engine/request.ts";

const messages = [{ role: "user", content: "Hi" }] as const;
const code = (request: unknown): string => {
  try {
    readRequest(request as ChatRequest, {});
    return "accepted";
  } catch (error) {
    return (error as { code: string }).code;
  }
};

test("options that are not there yet are refused by name, never ignored", () => {
  for (const option of ["tools", "response_format", "logit_bias", "presence_penalty", "logprobs", "functions", "min_p"])
    expect(() => readRequest({ messages, [option]: {} } as ChatRequest, {})).toThrow(option);
  expect(code({ messages, tools: [] })).toBe("unsupported-option");
  expect(code({ messages, n: 2 })).toBe("unsupported-option");
  expect(code({ messages, stream: true, stream_options: { include_obfuscation: true } })).toBe("unsupported-option");
  expect(code({ messages: [{ role: "user", content: "Hi", name: "Ann" }] })).toBe("unsupported-option");
  expect(code({ messages, tools: null, user: undefined })).toBe("accepted");
});

test("wrong values are refused", () => {
  for (const wrong of [
    { temperature: -1 },
    { temperature: "hot" },
    { temperature: Number.NaN },
    { top_p: 1.5 },
    { top_k: 0.5 },
    { max_tokens: 0 },
    { max_tokens: 1.5 },
    { seed: 0.5 },
    { stop: "" },
    { stop: ["a", "b", "c", "d", "e"] },
    { stream: "yes" },
    { stream_options: { include_usage: true } },
  ])
    expect(code({ messages, ...wrong }), JSON.stringify(wrong)).toBe("bad-request");
  for (const wrong of [
    undefined,
    "Hi",
    [1],
    [{ role: "robot", content: "Hi" }],
    [{ role: "user", content: [{ type: "image" }] }],
  ])
    expect(code({ messages: wrong }), JSON.stringify(wrong)).toBe("bad-request");
  expect(code(null)).toBe("bad-request");
});

test("an empty prompt has its own error", () => {
  expect(code({ messages: [] })).toBe("empty-prompt");
  expect(code({ messages: [{ role: "user", content: " \n" }] })).toBe("empty-prompt");
});

test("the model's generation_config fills in, and do_sample: false means greedy", () => {
  const defaults = { do_sample: true, temperature: 0.6, top_p: 0.9, max_new_tokens: 400 };
  expect(readRequest({ messages }, defaults)).toMatchObject({
    maxTokens: 400,
    sampling: { temperature: 0.6, topP: 0.9, topK: 0 },
  });
  expect(readRequest({ messages, temperature: 0, max_tokens: 5 }, defaults)).toMatchObject({
    maxTokens: 5,
    sampling: { temperature: 0 },
  });
  expect(readRequest({ messages }, { ...defaults, do_sample: false }).sampling.temperature).toBe(0);
  expect(readRequest({ messages }, {}).sampling).toMatchObject({ temperature: 1, topP: 1, topK: 0 });
});

test("max_completion_tokens goes before max_tokens, and a seed of any size gives a u32", () => {
  expect(readRequest({ messages, max_tokens: 5, max_completion_tokens: 3 }, {}).maxTokens).toBe(3);
  const { seed } = readRequest({ messages, seed: -(2 ** 40) - 1 }, {}).sampling;
  expect(seed).toBe(seed >>> 0);
});
