/**
 * Compares a model with what a reference implementation computed for it. This file uses nothing of
 * Node: the command line and the tests run it, in Node and in the browser.
 */
import { defined } from "../../src/base/assert.ts";
import { layMatrix } from "../../src/base/matrix.ts";
import { readLanguage } from "../../src/engine/language.ts";
import { type Loaded, loadModel } from "../../src/engine/load.ts";
import { Session } from "../../src/engine/session.ts";
import { decodeMatrix } from "../../src/format/mlx_affine.ts";
import { parseSafetensorsHeader } from "../../src/format/safetensors.ts";
import type { Sampling, Speaker } from "../../src/ops/ops.ts";
import { readRange, type Source } from "../../src/source/source.ts";
import { compareExactly, compareNumbers, compareText, type Line } from "./comparison.ts";

/**
 * The tolerances of CPU and GPU against the reference: numbers may differ by this times (1 + |x|).
 */
export const TOLERANCES = { cpu: 1e-4, gpu: 1e-3 } as const;

export const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, seed: 0 };

export interface GoldenOptions {
  readonly slots?: number | undefined;
  readonly chunk?: number | undefined;
  /**
   * Whether the prompt is also run token by token, as if it were generated, and the golden's
   * conversations are checked. Default true.
   */
  readonly thorough?: boolean | undefined;
  /** Conversations whose answers have more tokens than this are left out. */
  readonly longestAnswer?: number | undefined;
  /**
   * Is called with the logits of every prompt row, then with those of every greedy step, as bytes
   * of f32 (little-endian).
   */
  readonly onLogits?: ((bytes: Uint8Array) => void) | undefined;
}

/** The fields of golden.json that are read. */
export interface GoldenJson {
  readonly prompt_ids: readonly number[];
  readonly greedy_ids: readonly number[];
  /** The layers that have experts; all where it is absent. */
  readonly moe_layers?: readonly number[];
  /** What cos and sin are multiplied by; where there are several ropes, by type of layer. */
  readonly rope_scale?: number | Readonly<Record<string, number>>;
  readonly chats?: readonly {
    readonly title?: string;
    readonly messages: readonly { role: "user" | "assistant"; content: string }[];
    readonly prompt_ids: readonly number[];
    readonly greedy_ids: readonly number[];
    readonly text: string;
  }[];
}

interface GoldenTensor {
  readonly values: Float32Array | Int32Array;
  readonly shape: readonly number[];
}

/** Tensors of a golden.safetensors by name, decoded. */
type Golden = ReadonlyMap<string, GoldenTensor>;

/** Tensors that a model taps. `routing` is the `experts.<layer>` of all layers in one tensor. */
const TAPPED = /^(?:logits|routing|(?:hidden|router_logits|experts|expert_weights)\.\d+)$/;

/** Tensors that say which rows of a long prompt the other tensors have. They are not compared. */
const SELECTORS = ["rows", "logits_rows"];

/** A decoded matrix of the checkpoint, or of one of its stacks. */
const DEQUANTISED = /^dequant\.(.+)\.weight(?:\[(\d+)\])?$/;

/** The taps of a whole prompt: the rows of all its steps, one after the other. */
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

  /** The given rows of a tap; all rows if `rows` is undefined. */
  get(name: string, width: number, rows?: ArrayLike<number>): number[] | undefined {
    const values = this.rows.get(name);
    if (!values || !rows) return values;
    return Array.from(rows).flatMap((row) => values.slice(row * width, (row + 1) * width));
  }
}

/**
 * Checks a golden folder: it runs the prompt in chunks, greedy steps, the prompt again as generated
 * tokens, and conversations. Weights are never quantised. A tensor of golden.safetensors that
 * nothing is compared with counts as a failure.
 */
export async function* checkModel(
  speaker: Speaker,
  source: Source,
  options: GoldenOptions = {},
): AsyncGenerator<Line, void> {
  const tolerance = TOLERANCES[speaker.device];
  const json = JSON.parse(defined(await source.text("golden.json"), "golden.json")) as GoldenJson;
  const { golden, refused } = await readGolden(source);
  yield* refused;
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

  yield* compareTaps(golden, json, tapped, tolerance);
  yield compareExactly("greedy ids", greedy, json.greedy_ids);
  yield* compareOthers(golden, json, loaded, source);

  if (options.thorough === false) return;
  const generated = new Tapped();
  current = generated;
  session.reset();
  for (const id of json.prompt_ids) await session.decode(id, null);
  yield compareLogits("logits as generated", golden, generated, tolerance);

  current = null;
  const { longestAnswer = Number.POSITIVE_INFINITY } = options;
  const chats = json.chats?.filter((chat) => chat.greedy_ids.length <= longestAnswer) ?? [];
  for (const chat of chats) yield* await checkChat(loaded, session, chat);
}

function contextFor(json: GoldenJson): number {
  const runs = [json, ...(json.chats ?? [])];
  return Math.max(...runs.map((run) => run.prompt_ids.length + run.greedy_ids.length));
}

/**
 * The name under which a golden's tensor is tapped. The golden numbers all layers, a model those with
 * experts: `experts.2` is the model's `experts.1` if layer 0 is dense.
 */
function tapOf(name: string, { moe_layers: sparse }: GoldenJson): string {
  const [, kind, layer] = /^(router_logits|experts|expert_weights)\.(\d+)$/.exec(name) ?? [];
  return kind && sparse ? `${kind}.${sparse.indexOf(Number(layer))}` : name;
}

/** Compares every tensor whose name matches {@link TAPPED}. */
function* compareTaps(golden: Golden, json: GoldenJson, tapped: Tapped, tolerance: number): Generator<Line> {
  const rows = golden.get("rows")?.values;
  for (const [name, { values, shape }] of golden) {
    if (!TAPPED.test(name)) continue;
    const width = shape.at(-1) ?? 1;
    if (name === "logits") yield compareLogits(name, golden, tapped, tolerance);
    else if (name === "routing") {
      const layers = shape[0] ?? 1;
      const size = values.length / layers;
      for (let layer = 0; layer < layers; layer++) {
        const want = values.subarray(layer * size, (layer + 1) * size);
        yield compareExactly(`routing of layer ${layer}`, tapped.get(`experts.${layer}`, width) ?? [], want, width);
      }
    } else {
      const got = tapped.get(tapOf(name, json), width, rows) ?? [];
      const isExact = name.startsWith("experts.");
      yield isExact ? compareExactly(name, got, values, width) : compareNumbers(name, got, values, width, tolerance);
    }
  }
}

function compareLogits(quantity: string, golden: Golden, tapped: Tapped, tolerance: number): Line {
  const { values, shape } = golden.get("logits") ?? { values: [], shape: [] };
  const width = shape.at(-1) ?? 1;
  const got = tapped.get("logits", width, golden.get("logits_rows")?.values);
  return compareNumbers(quantity, got ?? [], values, width, tolerance);
}

/** Compares every tensor that is not tapped. One whose name is not known here either fails. */
async function* compareOthers(
  golden: Golden,
  json: GoldenJson,
  loaded: Loaded,
  source: Source,
): AsyncGenerator<Line, void> {
  for (const [name, { values, shape }] of golden) {
    if (TAPPED.test(name) || SELECTORS.includes(name)) continue;
    if (name === "input_ids") yield compareExactly(name, values, json.prompt_ids);
    else if (name.startsWith("rope_inv_freq")) yield* compareRope(name, values, json, loaded);
    else if (DEQUANTISED.test(name)) yield compareExactly(name, await dequantised(loaded, source, name, shape), values);
    else yield notCompared(name, "no comparison is known for this name");
  }
}

/**
 * Compares the frequencies of a rope, and what its cos and sin are multiplied by, with the model's;
 * where a model has several ropes (`rope_inv_freq.full_attention`), with the nearest of its.
 */
function* compareRope(
  name: string,
  values: ArrayLike<number>,
  { rope_scale: scales }: GoldenJson,
  { blueprint: { ropes } }: Loaded,
): Generator<Line> {
  const lines = ropes.map(({ frequencies }) => compareNumbers(name, frequencies, values, values.length, 1e-7));
  const index = Math.max(
    lines.findIndex(({ ok }) => ok),
    0,
  );
  yield defined(lines[index], "a rope");
  const scale = typeof scales === "object" ? scales[name.slice(name.indexOf(".") + 1)] : scales;
  if (scale !== undefined)
    yield compareNumbers(name.replace("inv_freq", "scale"), [ropes[index]!.scale], [scale], 1, 1e-7);
}

const notCompared = (name: string, why: string): Line => ({
  quantity: name,
  ok: false,
  text: `is not compared: ${why}`,
});

/**
 * The matrix that `dequant.<tensor>[index in its stack]` names, decoded as the CPU speaker decodes
 * it.
 */
async function dequantised(
  loaded: Loaded,
  source: Source,
  name: string,
  shape: readonly number[],
): Promise<Float32Array> {
  const [, module, stack] = defined(DEQUANTISED.exec(name), name);
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
  const { ids } = prompt(chat.messages);
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

/**
 * Reads the golden's tensors. `refused` has a failing line for each one that cannot be compared.
 */
async function readGolden(source: Source): Promise<{ readonly golden: Golden; readonly refused: readonly Line[] }> {
  const file = "golden.safetensors";
  const bytes = await readRange(source, file, 0, await source.size(file));
  const golden = new Map<string, GoldenTensor>();
  const refused: Line[] = [];
  for (const [name, { dtype, shape, begin, end }] of parseSafetensorsHeader(bytes, bytes.length).tensors) {
    const { buffer } = bytes.slice(begin, end);
    if (begin === end) refused.push(notCompared(name, "it is empty"));
    else if (dtype === "F32") golden.set(name, { values: new Float32Array(buffer), shape });
    else if (dtype === "I32") golden.set(name, { values: new Int32Array(buffer), shape });
    else refused.push(notCompared(name, `it is ${dtype}, neither F32 nor I32`));
  }
  return { golden, refused };
}

const bytesOf = (values: Float32Array): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
