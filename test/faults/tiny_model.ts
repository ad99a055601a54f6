import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadModel } from "../../src/engine/load.ts";
import { Session } from "../../src/engine/session.ts";
import { cpuSpeaker } from "../../src/ops/cpu/speaker.ts";
import { readRange, type Source } from "../../src/source/source.ts";
import type { Store } from "../../src/store/store.ts";
import { computedMixtral, type MixtralShape, TINY } from "../support/computed_mixtral.ts";
import { computedSource } from "../support/computed_source.ts";

const FIXTURES = join(process.cwd(), "test/fixtures");

/** The text of a fixture. */
export const fixtureText = (path: string): string => readFileSync(join(FIXTURES, path), "utf8");

/** Files of a model, by name. */
export type Files = Readonly<Record<string, Uint8Array<ArrayBuffer>>>;

const SMALLEST = { layers: 2, experts: 3, top: 2, width: 16, hidden: 24 };

/** The files of a Mixtral of two layers of three experts, in f32, with the tokenizer of stories260K. */
export const tinyFiles = (): Promise<Files> => filesOf({ ...TINY, ...SMALLEST });

/** The same of so many experts that a browser takes a while to store them. It knows all words of its tokenizer. */
export const smallFiles = (): Promise<Files> =>
  filesOf({ ...TINY, layers: 3, experts: 8, top: 2, width: 32, hidden: 48, vocabulary: 512 });

async function filesOf(shape: MixtralShape): Promise<Files> {
  const { config, tensors } = computedMixtral(shape);
  const source = computedSource(config, tensors);
  const weights = await readRange(source, "model.safetensors", 0, await source.size("model.safetensors"));
  const utf8 = (text: string) => new TextEncoder().encode(text);
  return {
    "config.json": utf8(JSON.stringify(config)),
    "model.safetensors": weights,
    "tokenizer.json": utf8(fixtureText("tokenizers/stories260k/tokenizer.json")),
    "chat_template.jinja": utf8("{% for message in messages %}{{ message.content }}{% endfor %}"),
  };
}

const GREEDY = { temperature: 0, topK: 0, topP: 1, seed: 0 };

const OPTIONS = { quantize: false, slots: 2, contextLength: 32 } as const;

/**
 * Opens a model on the CPU with the smallest pool, and returns a hash of every logit of a prompt
 * and three tokens after it. The fill runs meanwhile, and is ended with the answer.
 */
export async function answerOf(source: Source, store: Store | null): Promise<string> {
  const speaker = cpuSpeaker();
  const closed = new AbortController();
  try {
    const loaded = await loadModel(speaker, source, store, { ...OPTIONS, closed: closed.signal });
    const filled = loaded.fill(closed.signal);
    filled.catch(() => {}); // it may fail before it is waited for
    const hash = createHash("sha256");
    const onTaps = (taps: ReadonlyMap<string, Float32Array | Uint32Array>) => void hash.update(taps.get("logits")!);
    const session = new Session(speaker, loaded, { taps: "all", onTaps });
    let { token } = await session.prefill([1, 2, 3, 4, 5], GREEDY);
    for (let count = 0; count < 3; count++) ({ token } = await session.decode(token, GREEDY));
    closed.abort();
    await filled;
    await loaded.pool?.quiet();
    return hash.digest("hex");
  } finally {
    closed.abort();
    speaker.close();
  }
}

/** Brings all of a model into a store. */
export async function fillStore(source: Source, store: Store): Promise<void> {
  const speaker = cpuSpeaker();
  const loaded = await loadModel(speaker, source, store, OPTIONS);
  await loaded.fill(new AbortController().signal);
  speaker.close();
}
