/** The worker's side: one engine, opened by the first call. */
import { assert } from "../base/assert.ts";
import type { Engine, Progress } from "../engine/api.ts";
import { type Host, openEngine } from "../engine/engine.ts";
import { openSource } from "../engine/open_source.ts";
import type { Answer, Call } from "./protocol.ts";
import { toWire } from "./protocol.ts";

let engine: Engine | undefined;
let host: Host | undefined;
const aborts = new Map<number, AbortController>();

const say = (answer: Answer): void => postMessage(answer);

addEventListener("message", async ({ data: call }: MessageEvent<Call>) => {
  const { id } = call;
  if (call.kind === "abort") {
    aborts.get(id)?.abort();
    return;
  }
  const controller = new AbortController();
  aborts.set(id, controller);
  try {
    say({ id, kind: "result", value: await answer(call, controller.signal) });
  } catch (error) {
    say({ id, kind: "error", error: toWire(error) });
  } finally {
    // The signal of "open" also stops the background fill, which outlives the call.
    if (call.kind !== "open") aborts.delete(id);
  }
});

async function answer(call: Exclude<Call, { kind: "abort" }>, signal: AbortSignal): Promise<unknown> {
  const { id } = call;
  if (call.kind === "open") {
    const onProgress = (progress: Progress) => say({ id, kind: "progress", progress, info: engine?.info });
    host = openSource(call.model);
    engine = await openEngine(host, { ...call.options, onProgress, signal });
    return engine.info;
  }
  if (call.kind === "tryNow") return host?.source.waits?.tryNow(); // also while the engine is being opened
  assert(engine, "the engine was opened by the first call");
  switch (call.kind) {
    case "create": {
      const result = await engine.chat.completions.create(call.request, { signal });
      if (!(Symbol.asyncIterator in result)) return result;
      say({ id, kind: "stream" });
      for await (const chunk of result) say({ id, kind: "chunk", chunk });
      return undefined;
    }
    case "setBudget":
      return await engine.setBudget(call.budgetBytes);
    case "stats":
      return await engine.stats();
    case "trace":
      return await engine.trace();
    case "close":
      return await engine.close();
    default:
      call satisfies never;
  }
}
