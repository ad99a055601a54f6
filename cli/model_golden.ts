/** Compares a model with what a reference implementation computed for it. Knows no platform: the command line and the tests run it. */
import { defined } from "../src/base/assert.ts";
import { layMatrix } from "../src/base/matrix.ts";
import { readLanguage } from "../src/engine/language.ts";
import { type Loaded, loadModel } from "../src/engine/load.ts";
import { Session } from "../src/engine/session.ts";
import { decodeMatrix } from "../src/format/mlx_affine.ts";
import { parseSafetensorsHeader, type TensorEntry } from "../src/format/safetensors.ts";
import type { Sampling, Speaker } from "../src/ops/ops.ts";
import { readRange, type Source } from "../src/source/source.ts";
import { compareExactly, compareNumbers, compareText, type Line } from "./comparison.ts";

/** Within this times (1 + |x|): CPU against reference, GPU against reference. */
export const TOLERANCES = { cpu: 1e-4, gpu: 1e-3 } as const;

const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, seed: 0 };

export interface GoldenOptions {
  readonly slots?: number | undefined;
  readonly chunk?: number | undefined;
  /** Whether the prompt is also fed token by token as generated, and the golden's conversations are held. Default true. */
  readonly thorough?: boolean | undefined;
  /** Leave out conversations with longer answers than this many tokens. */
  readonly longestAnswer?: number | undefined;
  /** Told of each comparison as it is made. */
  readonly onLine?: ((line: Line) => void) | undefined;
  /** Bytes of every prompt row's logits, then of every greedy step's, f32 little-endian. */
  readonly onLogits?: ((bytes: Uint8Array) => void) | undefined;
}

interface GoldenJson {
  readonly prompt_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  readonly chats?: readonly {
    readonly title?: string;
    readonly messages: readonly { role: "user" | "assistant"; content: string }[];
    readonly prompt_ids: readonly number[];
    readonly greedy_ids: readonly number[];
    readonly text: string;
  }[];
}

/** Tensors of a golden.safetensors by name, decoded. */
type Golden = ReadonlyMap<string, { readonly values: Float32Array | Int32Array; readonly shape: readonly number[] }>;

/** Taps of a whole prompt: rows of all its steps, one after the other. */
class Tapped {
  private readonly rows = new Map<string, number[]>();
  readonly logits: Float32Array[] = [];

  take(taps: ReadonlyMap<string, Float32Array | Uint32Array>): void {
    for (const [name, values] of taps) {
      const rows = this.rows.get(name) ?? [];
      for (const value of values) rows.push(value);
      this.rows.set(name, rows);
    }
    this.logits.push(taps.get("logits") as Float32Array);
  }

  /** The given rows of a tap (all where undefined). */
  get(name: string, width: number, rows?: ArrayLike<number>): number[] | undefined {
    const values = this.rows.get(name);
    if (!values || !rows) return values;
    return Array.from(rows).flatMap((row) => values.slice(row * width, (row + 1) * width));
  }
}

/** Runs a golden folder: prompt in chunks, greedy steps, the prompt again as generated tokens, conversations. Never quantises. */
export async function checkModel(speaker: Speaker, source: Source, options: GoldenOptions = {}): Promise<Line[]> {
  const lines: Line[] = [];
  const say = (line: Line) => {
    lines.push(line);
    options.onLine?.(line);
  };
  const tolerance = TOLERANCES[speaker.device];
  const json = JSON.parse(defined(await source.text("golden.json"), "golden.json")) as GoldenJson;
  const golden = await readGolden(source);
  const loaded = await loadModel(speaker, source, null, {
    quantize: false,
    slots: options.slots,
    contextLength: contextFor(json),
  });

  const tapped = new Tapped();
  let current: Tapped | null = tapped;
  const session = new Session(speaker, loaded, {
    ...(options.chunk ? { chunk: options.chunk } : {}),
    taps: "all",
    onTaps: (taps) => current?.take(taps),
  });

  let { token } = await session.prefill(json.prompt_ids, GREEDY);
  const expected = json.greedy_ids.length;
  const steps = new Tapped();
  current = steps;
  const greedy: number[] = [token];
  while (greedy.length < expected) {
    ({ token } = await session.decode(token, GREEDY));
    greedy.push(token);
  }
  for (const values of [...tapped.logits, ...steps.logits]) options.onLogits?.(bytesOf(values));

  for (const line of compareTaps(golden, tapped, tolerance)) say(line);
  say(compareExactly("greedy ids", greedy, json.greedy_ids));
  const frequencies = golden.get("rope_inv_freq");
  if (frequencies)
    say(
      compareNumbers("rope_inv_freq", loaded.blueprint.ropes[0]!, frequencies.values, frequencies.values.length, 1e-7),
    );
  for (const [name, { values, shape }] of golden)
    if (name.startsWith("dequant.")) say(compareExactly(name, await dequantised(loaded, source, name, shape), values));

  if (options.thorough === false) return lines;
  const generated = new Tapped();
  current = generated;
  session.reset();
  for (const id of json.prompt_ids) await session.decode(id, null);
  const logits = defined(golden.get("logits"), "logits");
  const width = logits.shape[1]!;
  const rows = golden.get("logits_rows")?.values;
  say(compareNumbers("logits as generated", generated.get("logits", width, rows)!, logits.values, width, tolerance));

  current = null;
  const { longestAnswer = Number.POSITIVE_INFINITY } = options;
  const chats = json.chats?.filter((chat) => chat.greedy_ids.length <= longestAnswer) ?? [];
  for (const chat of chats) for (const line of await checkChat(loaded, session, chat)) say(line);
  return lines;
}

function contextFor(json: GoldenJson): number {
  const runs = [json, ...(json.chats ?? [])];
  return Math.max(...runs.map((run) => run.prompt_ids.length + run.greedy_ids.length));
}

function* compareTaps(golden: Golden, tapped: Tapped, tolerance: number): Generator<Line> {
  const logitRows = golden.get("logits_rows")?.values;
  const otherRows = golden.get("rows")?.values;
  for (const [name, { values, shape }] of golden) {
    const width = shape.at(-1)!;
    if (/^(logits|hidden\.\d+|router_logits\.\d+|expert_weights\.\d+)$/.test(name)) {
      const got = tapped.get(name, width, name === "logits" ? logitRows : otherRows);
      yield compareNumbers(name, got ?? [], values, width, tolerance);
    } else if (/^experts\.\d+$/.test(name)) {
      yield compareExactly(name, tapped.get(name, width, otherRows) ?? [], values, width);
    } else if (name === "routing") {
      const [layers, tokens, top] = shape as [number, number, number];
      for (let layer = 0; layer < layers; layer++) {
        const want = values.subarray(layer * tokens * top, (layer + 1) * tokens * top);
        yield compareExactly(`routing of layer ${layer}`, tapped.get(`experts.${layer}`, top) ?? [], want, top);
      }
    }
  }
}

/** The matrix a `dequant.<tensor>[row of its stack]` names, decoded as the CPU speaker does. */
async function dequantised(
  loaded: Loaded,
  source: Source,
  name: string,
  shape: readonly number[],
): Promise<Float32Array> {
  const [, module, stack] = defined(/^dequant\.(.+)\.weight(?:\[(\d+)\])?$/.exec(name), name);
  const published = { module: module!, ...(stack === undefined ? {} : { stack: Number(stack) }) };
  const found = loaded.repository.checkpoint.find([published], shape[0]!, shape[1]!);
  const matrix = layMatrix(found.rows, found.columns, found.encoding);
  const bytes = new Uint8Array(matrix.end);
  for (const part of ["weight", "scales", "biases"] as const) {
    const range = found[part];
    if (range) bytes.set(await readRange(source, range.file, range.begin, range.end), matrix[part]);
  }
  return decodeMatrix(matrix, bytes);
}

async function checkChat(
  loaded: Loaded,
  session: Session,
  chat: NonNullable<GoldenJson["chats"]>[number],
): Promise<Line[]> {
  const { tokenizer, stopIds, prompt } = readLanguage(loaded.repository);
  const title = `chat "${chat.title ?? chat.messages.at(-1)!.content}"`;
  const ids = prompt(chat.messages);
  session.reset();
  let { token } = await session.prefill(ids, GREEDY);
  const answer = [token];
  while (!stopIds.has(token) && answer.length < chat.greedy_ids.length) {
    ({ token } = await session.decode(token, GREEDY));
    answer.push(token);
  }
  return [
    compareExactly(`${title} prompt ids`, ids, chat.prompt_ids),
    compareExactly(`${title} greedy ids`, answer, chat.greedy_ids),
    compareText(`${title} text`, tokenizer.decode(answer, { skipSpecialTokens: true }).trim(), chat.text),
  ];
}

async function readGolden(source: Source): Promise<Golden> {
  const file = "golden.safetensors";
  const bytes = await readRange(source, file, 0, await source.size(file));
  const { tensors } = parseSafetensorsHeader(bytes, bytes.length);
  return new Map([...tensors].map(([name, entry]) => [name, { values: numbers(entry, bytes), shape: entry.shape }]));
}

function numbers({ dtype, begin, end }: TensorEntry, bytes: Uint8Array): Float32Array | Int32Array {
  const { buffer } = bytes.slice(begin, end);
  return dtype === "F32" ? new Float32Array(buffer) : new Int32Array(buffer);
}

const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
