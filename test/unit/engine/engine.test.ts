import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { MixtabError } from "../../../src/base/errors.ts";
import type { ChatCompletionChunk, Engine, EngineOptions, Progress } from "../../../src/engine/api.ts";
import { openEngine } from "../../../src/engine/engine.ts";
import { httpSource } from "../../../src/source/http.ts";
import type { Source } from "../../../src/source/source.ts";
import { type MemoryRecord, memoryStore } from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";
import golden from "../../fixtures/storyteller-moe/mlx-4bit/golden.json" with { type: "json" };
import { type Server, serve } from "../../support/serve.mjs";

const STORY = "storyteller-moe/mlx-4bit/";
const HELLO = golden.chats[0]!;
let server: Server;
const engines: Engine[] = [];

beforeAll(async () => {
  server = await serve({ root: join(import.meta.dirname, "../../fixtures") });
});
beforeEach(() => server.clear());
afterAll(async () => {
  await Promise.all(engines.map((engine) => engine.close()));
  await server.close();
});

/** Opens a model of the test server on the CPU; resolves with the engine and, later, the end of the fill. */
async function open(folder = STORY, options: EngineOptions = {}, store: Store = memoryStore()) {
  const progress: Progress[] = [];
  let done = () => {};
  const filled = new Promise<void>((resolve) => {
    done = resolve;
  });
  const onProgress = (event: Progress) => {
    progress.push(event);
    if (event.phase === "done" || event.warning) done();
  };
  const source = httpSource(`${server.origin}/${folder}`, { retryDelayMs: 1 });
  const engine = await openEngine({ id: "story", source, store }, { device: "cpu", ...options, onProgress });
  engines.push(engine);
  return { engine, progress, filled };
}

const ask = (engine: Engine, messages = HELLO.messages, more = {}) =>
  engine.chat.completions.create({ messages: messages as never, temperature: 0, stream: false, ...more });
const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return "no error";
  } catch (error) {
    if (!(error instanceof MixtabError)) throw error;
    return error.code;
  }
};
const weightRequests = () => server.log.filter(({ path, method }) => path.endsWith(".safetensors") && method === "GET");

test("a conversation comes out word for word, streamed and whole, in OpenAI's shapes", async () => {
  const { engine } = await open();
  const whole = await ask(engine);
  expect(whole).toMatchObject({
    object: "chat.completion",
    model: "story",
    choices: [{ index: 0, message: { role: "assistant", content: HELLO.text }, finish_reason: "stop", logprobs: null }],
    usage: { prompt_tokens: HELLO.prompt_ids.length, completion_tokens: HELLO.greedy_ids.length },
  });
  const chunks: ChatCompletionChunk[] = [];
  const stream = await engine.chat.completions.create({
    messages: HELLO.messages as never,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of stream) chunks.push(chunk);
  expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe(HELLO.text);
  expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
  expect(chunks[0]!.choices[0]!.delta).toEqual({ role: "assistant", content: "" });
  expect(chunks.at(-2)!.choices[0]).toMatchObject({ delta: {}, finish_reason: "stop" });
  expect(chunks.at(-1)).toMatchObject({
    choices: [],
    usage: { total_tokens: 26, prompt_tokens_details: { cached_tokens: 6 } },
  });
});

test("a second turn runs only what is new, and gives what a fresh cache gives", async () => {
  const { engine } = await open();
  const first = await ask(engine);
  const answer = first.choices[0]!.message.content;
  const turns = [...HELLO.messages, { role: "assistant", content: answer }, { role: "user", content: "Thank you!" }];
  const second = await ask(engine, turns, { max_tokens: 12 });
  expect(second.usage.prompt_tokens_details.cached_tokens).toBe(HELLO.prompt_ids.length + HELLO.greedy_ids.length - 1);
  const { engine: fresh } = await open();
  const again = await ask(fresh, turns, { max_tokens: 12 });
  expect(again.usage.prompt_tokens_details.cached_tokens).toBe(0);
  expect(second.choices[0]!.message.content).toBe(again.choices[0]!.message.content);
});

test("what a model thinks before it answers comes apart from the answer, whole and streamed", async () => {
  const source = httpSource(`${server.origin}/${STORY}`);
  const own = (await source.text("chat_template.jinja"))!;
  const template = `${own}{{ reasoning_effort }}{% if enable_thinking %}<think>{% else %}<think></think>{% endif %}`;
  const text: Source["text"] = async (file, signal) =>
    file === "chat_template.jinja" ? template : source.text(file, signal);
  const engine = await openEngine(
    { id: "story", source: { ...source, text }, store: memoryStore() },
    { device: "cpu" },
  );
  engines.push(engine);
  const answer = async (more: object) => {
    const { choices, usage } = await ask(engine, HELLO.messages, { max_tokens: 12, ...more });
    return { message: choices[0]!.message, usage };
  };

  const { message, usage } = await answer({ enable_thinking: true });
  expect(message.content).toBe("");
  expect(message.reasoning_content).toMatch(/\w/);
  expect(usage.completion_tokens_details.reasoning_tokens).toBe(usage.completion_tokens);
  const deltas: ChatCompletionChunk["choices"][number]["delta"][] = [];
  const request = { messages: HELLO.messages as never, temperature: 0, max_tokens: 12, stream: true } as const;
  for await (const { choices } of await engine.chat.completions.create({ ...request, enable_thinking: true }))
    deltas.push(...choices.map(({ delta }) => delta));
  expect(deltas.map(({ reasoning_content: piece = "" }) => piece).join("")).toBe(message.reasoning_content);
  expect(deltas.map(({ content = "" }) => content).join("")).toBe("");

  const without = await answer({ chat_template_kwargs: { enable_thinking: false } });
  expect(without.message).not.toHaveProperty("reasoning_content");
  expect(without.message.content).toMatch(/\w/);
  const harder = await answer({ enable_thinking: true, reasoning_effort: "high" });
  expect(harder.usage.prompt_tokens).toBeGreaterThan(usage.prompt_tokens);
  // What the engine said can be sent back as it is.
  await answer({ messages: [...HELLO.messages, message, { role: "user", content: "Go on." }] as never });
});

test("stop strings, max_tokens and seeds are heeded", async () => {
  const { engine } = await open();
  const stopped = await ask(engine, HELLO.messages, { stop: ["little"] });
  expect(stopped.choices[0]).toMatchObject({ message: { content: "Hello! I tell " }, finish_reason: "stop" });
  const short = await ask(engine, HELLO.messages, { max_tokens: 4 });
  expect(short.choices[0]!.finish_reason).toBe("length");
  expect(short.usage.completion_tokens).toBe(4);
  const dog = [{ role: "user", content: "Tell me a story about a dog." }];
  const draw = async (seed: number) => {
    const drawn = await ask(engine, dog, { temperature: 1.5, top_p: 0.95, top_k: 200, seed, max_tokens: 20 });
    return drawn.choices[0]!.message.content;
  };
  expect(await draw(1)).toBe(await draw(1));
  expect(await draw(1)).not.toBe(await draw(2));
});

test("an abort stops the answer, and the next one is right", async () => {
  const { engine } = await open();
  const dog = golden.chats.find(({ text }) => text.length > 400)!;
  const stop = new AbortController();
  const messages = dog.messages as never;
  const stream = await engine.chat.completions.create(
    { messages, temperature: 0, stream: true },
    { signal: stop.signal },
  );
  let text = "";
  const reading = (async () => {
    for await (const { choices } of stream) {
      text += choices[0]?.delta.content ?? "";
      if (text.length > 40) stop.abort();
    }
  })();
  await expect(reading).rejects.toMatchObject({ name: "AbortError" });
  expect(dog.text.startsWith(text.trim())).toBe(true);
  expect(text.length).toBeLessThan(100);
  expect((await ask(engine)).choices[0]!.message.content).toBe(HELLO.text);
  await expect(
    ask(engine, HELLO.messages).then(() => engine.chat.completions.create({ messages }, { signal: stop.signal })),
  ).rejects.toThrow();
});

test("a reader who leaves early ends the answer, and requests wait for each other", async () => {
  const { engine } = await open();
  for await (const _ of await engine.chat.completions.create({ messages: HELLO.messages as never, stream: true }))
    break;
  const [first, second] = await Promise.all([ask(engine), ask(engine)]);
  expect(first.choices[0]!.message.content).toBe(second.choices[0]!.message.content);
});

test("the smallest budget gives the same text as the largest, and counters say what it cost", async () => {
  const { engine: large } = await open();
  const { info } = large;
  const { engine: small } = await open(STORY, { budgetBytes: info.recordBytes * info.top });
  expect(small.info.slots).toBe(2);
  expect(info.slots).toBe(info.layers * info.experts);
  const few = { max_tokens: 15 };
  const [a, b] = [await ask(large, HELLO.messages, few), await ask(small, HELLO.messages, few)];
  expect(b.choices[0]!.message.content).toBe(a.choices[0]!.message.content);
  const { decode } = b.usage.mixtab;
  expect(decode.hits + decode.misses).toBe(decode.tokens * info.layers * info.top);
  expect(decode.misses).toBeGreaterThan(a.usage.mixtab.decode.misses);
  expect(decode.uploadedBytes).toBe(decode.uploads * info.recordBytes);
});

test("the budget changes in mid-answer, the words do not", async () => {
  const { engine } = await open();
  const { recordBytes, slots } = engine.info;
  const stream = await engine.chat.completions.create({
    messages: HELLO.messages as never,
    temperature: 0,
    stream: true,
  });
  const budgets = [2 * recordBytes, 9.5 * recordBytes, "auto" as const];
  let text = "";
  const seen: number[] = [];
  for await (const { choices } of stream) {
    text += choices[0]?.delta.content ?? "";
    const budget = budgets.shift();
    if (budget !== undefined) seen.push((await engine.setBudget(budget)).slots);
  }
  expect(text).toBe(HELLO.text);
  expect(seen).toEqual([2, 9, slots]);
  await expect(engine.setBudget(recordBytes)).rejects.toMatchObject({ code: "budget-too-small" });
  await expect(engine.setBudget(Number.NaN)).rejects.toMatchObject({ code: "bad-request" });
  expect(await engine.stats()).toMatchObject({ slots, mode: expect.stringMatching(/^(queued|optimistic|grouped)$/) });
  expect(engine.info.memory.slots).toBe(slots * recordBytes);
  await engine.close();
  await expect(engine.setBudget(recordBytes)).rejects.toMatchObject({ code: "closed" });
});

test("a second visit asks for no weights", async () => {
  const records = new Map<string, MemoryRecord>();
  const { filled } = await open(STORY, {}, memoryStore(records));
  await filled;
  server.clear();
  const { engine, progress } = await open(STORY, {}, memoryStore(records));
  expect((await ask(engine)).choices[0]!.message.content).toBe(HELLO.text);
  expect(weightRequests()).toEqual([]);
  expect(progress.at(-1)).toMatchObject({ phase: "done", from: "store" });
});

test("a template that changed after the first visit is used on the second, and offline on the third", async () => {
  const records = new Map<string, MemoryRecord>();
  const { filled } = await open(STORY, {}, memoryStore(records));
  await filled;
  const promptOf = async (): Promise<number> => {
    const { engine, filled: ended } = await open(STORY, {}, memoryStore(records));
    await ended;
    return (await ask(engine, HELLO.messages, { max_tokens: 1 })).usage.prompt_tokens;
  };
  server.clear();
  const longer = (bytes: Buffer) => Buffer.from(bytes.toString().replaceAll("[INST] ", "zqzqzq "));
  server.rule({ path: "chat_template.jinja", change: longer });
  const prompt = await promptOf();
  expect(prompt).toBeGreaterThan(HELLO.prompt_ids.length);
  server.clear();
  server.rule({ path: "/", status: 500 });
  expect(await promptOf()).toBe(prompt);
  expect(weightRequests()).toEqual([]);
});

test("each recipe has records of its own; what another left is not read, and comes back as it was", async () => {
  const records = new Map<string, MemoryRecord>();
  const sizes: number[] = [];
  for (const quantize of ["auto", "mlx"] as const) {
    const { engine, filled } = await open("storyteller-moe/hf/", { quantize }, memoryStore(records));
    await filled;
    expect(weightRequests().length, quantize).toBeGreaterThan(0);
    sizes.push(engine.info.denseBytes);
    server.clear();
  }
  expect(sizes[0]).toBeGreaterThan(sizes[1]!);
  const keys = [...records.keys()].map((key) => key.split("/").slice(0, -1).join("/"));
  expect(keys.some((key) => key.includes("/auto-1")) && keys.some((key) => key.includes("/mlx-1"))).toBe(true);
  const { engine, progress } = await open("storyteller-moe/hf/", { quantize: true }, memoryStore(records));
  expect(engine.info.denseBytes, "true is auto").toBe(sizes[0]);
  expect(weightRequests()).toEqual([]);
  expect(progress.at(-1)).toMatchObject({ from: "store" });
});

test("progress never falls, though experts are demanded while the fill fetches them", async () => {
  server.rule({ path: "model.safetensors", bytesPerSecond: 1_000_000, largerThan: 20_000 });
  const { engine, progress, filled } = await open();
  await ask(engine, HELLO.messages, { max_tokens: 3 });
  await filled;
  const loaded = progress.map(({ loadedBytes }) => loadedBytes);
  expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
  expect(loaded.at(-1)).toBe(engine.info.denseBytes + engine.info.expertBytes);
});

test("a stored model opens while its server is in trouble, and what another tab has stored is not fetched again", async () => {
  const records = new Map<string, MemoryRecord>();
  const { filled } = await open(STORY, {}, memoryStore(records));
  await filled;
  server.rule({ path: "config.json", status: 500 });
  const { engine } = await open(STORY, {}, memoryStore(records));
  expect((await ask(engine)).choices[0]!.message.content).toBe(HELLO.text);

  server.clear();
  const others = new Map([...records].filter(([key]) => key.includes("/dense/")));
  const store = memoryStore(others);
  let lists = 0;
  const keys: Store["keys"] = async (prefix) => {
    if (prefix.endsWith("expert/") && lists++ === 1) for (const [key, record] of records) others.set(key, record);
    return await store.keys(prefix);
  };
  const { filled: second } = await open(STORY, {}, { ...store, keys });
  await second;
  expect(weightRequests().every(({ end }) => end <= 65536)).toBe(true); // headers only
});

test("an interrupted fill goes on at the next missing record", async () => {
  const records = new Map<string, MemoryRecord>();
  const { filled } = await open(STORY, {}, memoryStore(records));
  await filled;
  const experts = [...records.keys()].filter((key) => key.includes("/expert/"));
  for (const key of records.keys()) if (key.endsWith("manifest") || experts.indexOf(key) > 30) records.delete(key);
  server.clear();
  const { filled: refilled } = await open(STORY, {}, memoryStore(records));
  await refilled;
  const read = weightRequests().reduce((sum, { begin, end }) => sum + end - begin, 0);
  expect([...records.keys()].filter((key) => key.includes("/expert/"))).toHaveLength(40);
  expect(read).toBeLessThan(40 * 62208 * 0.5);
});

test("a flipped byte in the store is fetched again", async () => {
  const records = new Map<string, MemoryRecord>();
  const { filled } = await open(STORY, {}, memoryStore(records));
  await filled;
  for (const [key, { bytes }] of records) if (/\/(expert|dense)\//.test(key)) bytes[bytes.length >> 1]! ^= 4;
  server.clear();
  const { engine, progress } = await open(STORY, {}, memoryStore(records));
  expect((await ask(engine)).choices[0]!.message.content).toBe(HELLO.text);
  expect(weightRequests().length).toBeGreaterThan(0);
  expect(progress.some(({ warning }) => warning?.includes("fetched again"))).toBe(true);
});

test("a full quota is a warning, and the work goes on from the network", async () => {
  const store = memoryStore();
  let room = 5;
  const put: Store["put"] = async (key, bytes) => {
    if (room-- <= 0) throw new MixtabError("quota", "The store is full.");
    await store.put(key, bytes);
  };
  const { engine, progress, filled } = await open(STORY, {}, { ...store, put });
  await filled;
  const answer = await ask(engine);
  expect(answer.choices[0]!.message.content).toBe(HELLO.text);
  expect(answer.usage.mixtab.prefill.bytesFromNetwork).toBeGreaterThan(0);
  expect(progress.some(({ warning }) => warning?.includes("full"))).toBe(true);
});

test.each([
  ["at the first record", 0],
  ["among the dense weights", 3],
  ["among the experts", 60],
  ["at the manifest", Number.POSITIVE_INFINITY],
])("a quota that is spent %s ends the fill with done, which says how much is kept", async (_, most) => {
  const records = new Map<string, MemoryRecord>();
  const store = memoryStore(records);
  let room = most;
  const put: Store["put"] = async (key, bytes) => {
    if (room-- <= 0 || key.endsWith("/manifest")) throw new MixtabError("quota", "The store is full.");
    await store.put(key, bytes);
  };
  const progress: Progress[] = [];
  const source = httpSource(`${server.origin}/${STORY}`, { retryDelayMs: 1 });
  const last = await new Promise<Progress>((resolve, reject) => {
    const onProgress = (event: Progress) => {
      progress.push(event);
      if (event.phase === "done") resolve(event);
    };
    const host = { id: "story", source, store: { ...store, put } };
    openEngine(host, { device: "cpu", onProgress }).then((engine) => engines.push(engine), reject);
  });
  const keptBytes = [...records.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  expect(last.warning).toContain(`${keptBytes} of ${last.totalBytes} bytes of the model are kept`);
  expect(progress.filter(({ phase }) => phase === "done")).toHaveLength(1);
  expect(last.loadedBytes === last.totalBytes, "only what is kept counts as loaded").toBe(
    keptBytes === last.totalBytes,
  );
  expect([...records.keys()].filter((key) => key.endsWith("/manifest"))).toEqual([]);
});

test("a cut connection is resumed", async () => {
  server.rule({ path: "model.safetensors", cutAfter: 20_000, times: 5 });
  const { engine } = await open();
  expect((await ask(engine)).choices[0]!.message.content).toBe(HELLO.text);
  expect(server.log.some(({ cut }) => cut)).toBe(true);
});

test("an expert damaged after it was checked is read anew: the answer is made again, once", async () => {
  const records = new Map<string, MemoryRecord>();
  const { engine, filled, progress } = await open(STORY, {}, memoryStore(records));
  await filled;
  expect((await ask(engine)).choices[0]!.message.content).toBe(HELLO.text);
  /** Damages what is kept; the pool has read and checked all of it, and reads it again from now on. */
  const damage = async () => {
    for (const [key, { bytes }] of records) if (key.includes("expert/")) bytes.fill(0xff);
    await engine.setBudget(2 * engine.info.recordBytes);
  };
  await damage();
  const dog = [{ role: "user", content: "Tell me a story about Mia and the kite." }];
  const { engine: sound } = await open();
  const want = (await ask(sound, dog, { max_tokens: 12 })).choices[0]!.message.content;
  expect((await ask(engine, dog, { max_tokens: 12 })).choices[0]!.message.content).toBe(want);
  expect(progress.some(({ warning }) => warning?.includes("fetched again"))).toBe(true);

  await damage();
  let text = "";
  const request = { messages: HELLO.messages as never, temperature: 0, stream: true } as const;
  for await (const { choices } of await engine.chat.completions.create(request))
    text += choices[0]?.delta.content ?? "";
  expect(text).toBe(HELLO.text);
  expect(server.log.length).toBeGreaterThan(0);
});

test("weights that are no numbers are the error not-finite, which names the call that helps", async () => {
  server.rule({ path: "model.safetensors", change: (bytes, begin) => (begin > 65536 ? bytes.fill(0xff) : bytes) });
  const { engine } = await open();
  await expect(ask(engine)).rejects.toMatchObject({
    code: "not-finite",
    message: expect.stringContaining("(deleteModel)"),
  });
});

test("what a server does wrong has a name", async () => {
  expect(await codeOf(open("nowhere/"))).toBe("not-found");
  server.rule({ path: "model.safetensors", ignoreRange: true });
  expect(await codeOf(open())).toBe("no-range");
  server.clear();
  server.rule({ path: "model.safetensors", status: 403 });
  expect(await codeOf(open())).toBe("http");
  server.clear();
  server.rule({ path: "model.safetensors", status: 404 });
  expect(await codeOf(open())).toBe("not-found");
  server.clear();
  server.rule({ path: "model-00002", status: 404 });
  expect(await codeOf(open("mlx/mixtral_q4g64_sharded/"))).toBe("missing-shard");
  server.clear();
  server.rule({ path: "model.safetensors", cutAfter: 0 });
  expect(await codeOf(open())).toBe("network");
});

test("a model that cannot run has a name for it", async () => {
  const changed = (change: (config: Record<string, unknown>) => void) => {
    server.clear();
    server.rule({
      path: "config.json",
      change: (bytes) => {
        const config = JSON.parse(bytes.toString());
        change(config);
        return Buffer.from(JSON.stringify(config).padEnd(bytes.length).slice(0, bytes.length));
      },
    });
    return codeOf(open());
  };
  const drop = (config: Record<string, unknown>) => {
    delete config.initializer_range;
    delete config.architectures;
    delete config.quantization_config;
  };
  expect(
    await changed((config) => {
      drop(config);
      config.model_type = "mamba";
    }),
  ).toBe("unsupported-model");
  expect(
    await changed((config) => {
      drop(config);
      config.quantization = { quant_method: "gptq", bits: 4 };
    }),
  ).toBe("unsupported-quantization");
  expect(
    await changed((config) => {
      drop(config);
      config.num_hidden_layers = 6;
    }),
  ).toBe("missing-tensor");
  expect(
    await changed((config) => {
      drop(config);
      config.hidden_size = 128;
    }),
  ).toBe("bad-config");
});

test("options that cannot be are refused with the next step", async () => {
  await expect(open(STORY, { budgetBytes: 100_000 })).rejects.toMatchObject({ code: "budget-too-small" });
  await expect(open(STORY, { budgetBytes: 100_000 })).rejects.toThrow(/smallest budget that works is 124416 bytes/);
  expect(await codeOf(open(STORY, { contextLength: 4000 }))).toBe("bad-request");
  expect(await codeOf(open(STORY, { mode: "fast" as never }))).toBe("bad-request");
  expect(await codeOf(open(STORY, { quantize: "q8" as never }))).toBe("bad-request");
  const { engine } = await open(STORY, { contextLength: 64 });
  const long = [{ role: "user", content: "dog ".repeat(100) }];
  await expect(ask(engine, long)).rejects.toMatchObject({ code: "prompt-too-long" });
  await expect(engine.chat.completions.create({ messages: long as never, stream: true })).rejects.toMatchObject({
    code: "prompt-too-long",
  });
  expect(await codeOf(ask(engine, []))).toBe("empty-prompt");
  expect(await codeOf(ask(engine, [{ role: "system", content: "Be brief." }, ...HELLO.messages]))).toBe("bad-messages");
  expect((await ask(engine)).choices[0]!.message.content).toBe(HELLO.text);
  await engine.close();
  await expect(ask(engine)).rejects.toMatchObject({ code: "closed" });
});

test("a context that runs full ends the answer with length", async () => {
  const { engine } = await open(STORY, { contextLength: 30 });
  const answer = await ask(engine, [{ role: "user", content: "Tell me a story about a dog." }]);
  expect(answer.choices[0]!.finish_reason).toBe("length");
  expect(answer.usage.total_tokens).toBe(31);
});

test("the trace has a row per token, layer and rank", async () => {
  const { engine } = await open(STORY, { trace: true });
  await ask(engine);
  const lines = (await engine.trace()).trimEnd().split("\n");
  const rows = lines.filter((line) => !line.startsWith("#"));
  expect(lines[1]).toMatch(/^# model=\S+ arch=mixtral n_layer=5 n_expert=8 n_expert_used=2$/);
  expect(rows[0]).toMatch(/^turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,/);
  const tokens = HELLO.prompt_ids.length + HELLO.greedy_ids.length - 1;
  expect(rows).toHaveLength(1 + tokens * 5 * 2);
  const weights = rows.slice(1, 3).map((row) => Number(row.split(",")[6]));
  expect(weights[0]! + weights[1]!).toBeCloseTo(1, 4);
  const generated = rows.filter((row) => row.split(",")[1] === "1");
  const missed = generated.filter((row) => row.split(",")[7] === "0");
  const { decode } = await engine.stats();
  expect([generated.length - missed.length, missed.length]).toEqual([decode.hits, decode.misses]);
});

test("an aborted opening rejects with the signal's reason and leaves nothing behind that a later one trips over", async () => {
  const records = new Map<string, MemoryRecord>();
  server.rule({ path: "model.safetensors", bytesPerSecond: 200_000, largerThan: 20_000 });
  const stop = new AbortController();
  const opening = open(STORY, { signal: stop.signal }, memoryStore(records));
  setTimeout(() => stop.abort(), 150);
  await expect(opening).rejects.toMatchObject({ name: "AbortError" });
  server.clear();
  const { engine } = await open(STORY, {}, memoryStore(records));
  expect((await ask(engine)).choices[0]!.message.content).toBe(HELLO.text);
});

test("without WebGPU auto runs on the CPU and says so; gpu is the error no-webgpu", async () => {
  const { engine } = await open(STORY, { device: "auto" });
  expect(engine.info).toMatchObject({ device: "cpu", deviceDescription: expect.stringContaining("no WebGPU") });
  expect(await codeOf(open(STORY, { device: "gpu" }))).toBe("no-webgpu");
});
