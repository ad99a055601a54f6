/** Makes tests of goldens, for either speaker. A `Platform` says how to open a fixture folder. */
import { expect, test } from "vitest";
import { compareNumbers, type Line } from "../../cli/check/comparison.ts";
import { checkModel, type GoldenJson } from "../../cli/check/model_golden.ts";
import { layExpert, layMatrix } from "../../src/base/matrix.ts";
import { loadModel } from "../../src/engine/load.ts";
import { Session } from "../../src/engine/session.ts";
import { Pool } from "../../src/experts/pool.ts";
import { runStep } from "../../src/experts/step.ts";
import { SILU, SOFTMAX } from "../../src/layers/mixture.ts";
import type { Sampling, Speaker } from "../../src/ops/ops.ts";
import { givenFiles } from "../../src/source/given_files.ts";
import type { Source } from "../../src/source/source.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";
import { gathered } from "./gathered.ts";

const GREEDY: Sampling = { temperature: 0, topK: 0, topP: 1, seed: 0 };

/** A golden folder of a model, and facts from its files that tell how much work it is. */
export interface GoldenFolder {
  /** The path below test/fixtures. */
  readonly folder: string;
  readonly golden: GoldenJson;
  /** Whether its config.json says that the weights are quantised. */
  readonly isQuantised: boolean;
  /** Whether its config.json has experts. */
  readonly isSparse: boolean;
  readonly modelType: string;
}

const FIXTURES = "../fixtures/";
const goldens = import.meta.glob<GoldenJson>("../fixtures/**/golden.json", { eager: true, import: "default" });
const configs = import.meta.glob<Readonly<Record<string, unknown>>>("../fixtures/**/config.json", {
  eager: true,
  import: "default",
});

/** Every folder below test/fixtures that has a golden.json. */
export const GOLDEN_FOLDERS: readonly GoldenFolder[] = Object.entries(goldens).map(([path, golden]) => {
  const folder = path.slice(0, path.lastIndexOf("/"));
  const config = configs[`${folder}/config.json`] ?? {};
  const isQuantised = "quantization" in config || "quantization_config" in config;
  const isSparse = ["num_experts_per_tok", "moe_k"].some((key) => key in config);
  const modelType = String(config.model_type);
  return { folder: folder.slice(FIXTURES.length), golden, isQuantised, isSparse, modelType };
});

export interface Platform {
  speaker(): Promise<Speaker>;
  /** Opens a folder of test/fixtures. */
  open(folder: string): Source;
  bytes(file: string): Promise<Uint8Array<ArrayBuffer>>;
}

const failed = (lines: readonly Line[]) =>
  lines.filter(({ ok }) => !ok).map(({ quantity, text }) => `${quantity}: ${text}`);

/**
 * Tests golden folders with chunks of 1, 7 and 256. What does not depend on chunks is tested once,
 * with the largest.
 */
export function testModelGoldens(
  platform: Platform,
  folders: readonly GoldenFolder[],
  { chunks = [1, 7, 256], longestAnswer = Number.POSITIVE_INFINITY } = {},
): void {
  for (const { folder } of folders)
    for (const chunk of chunks)
      test(`${folder} agrees with its golden, chunks of ${chunk}`, async () => {
        const speaker = await platform.speaker();
        const options = { chunk, thorough: chunk === Math.max(...chunks), longestAnswer };
        const lines = await gathered(checkModel(speaker, platform.open(folder), options));
        expect(failed(lines)).toEqual([]);
        expect(lines.length).toBeGreaterThanOrEqual(5);
        speaker.close();
      });
}

interface AteniaGolden {
  readonly input_ids: readonly number[];
  readonly hf_logits: readonly number[];
  readonly greedy_ids?: readonly number[];
}

/**
 * Tests the checkpoints of a third party, Atenia: fused names, missing config keys, logits and
 * greedy ids. Unless `whole`, only one layer by itself.
 */
export function testAtenia(platform: Platform, tolerance: number, whole = true): void {
  const json = async (file: string) => JSON.parse(new TextDecoder().decode(await platform.bytes(`atenia/${file}`)));
  const open = async (weights: string, config: string) => {
    const files = {
      "config.json": await platform.bytes(`atenia/${config}_config.json`),
      "model.safetensors": await platform.bytes(`atenia/${weights}.safetensors`),
    };
    const speaker = await platform.speaker();
    const loaded = await loadModel(speaker, givenFiles(files), null, { quantize: false, contextLength: 64 });
    const logits: number[] = [];
    const session = new Session(speaker, loaded, {
      taps: "all",
      onTaps: (taps) => logits.push(...taps.get("logits")!),
    });
    return { speaker, session, logits };
  };
  const greedy = async (session: Session, prompt: readonly number[], count: number) => {
    session.reset();
    let { token } = await session.prefill(prompt, GREEDY);
    const ids = [token];
    while (ids.length < count) {
      ({ token } = await session.decode(token, GREEDY));
      ids.push(token);
    }
    return ids;
  };

  for (const [weights, config, golden] of [
    ["full_mixtral", "mixtral_tiny", "full_mixtral"],
    ["mixtral_classic", "mixtral_classic", "full_mixtral"],
    ["gqa_mixtral", "gqa_mixtral", "gqa_mixtral"],
    ["mixtral_scale", "mixtral_scale", "mixtral_scale"],
  ] as const)
    test.runIf(whole)(`atenia ${weights} gives the logits and greedy ids of its golden`, async () => {
      const { speaker, session, logits } = await open(weights, config);
      const want = (await json(`${golden}.json`)) as AteniaGolden;
      await session.prefill(want.input_ids, GREEDY);
      const width = want.hf_logits.length / want.input_ids.length;
      expect(failed([compareNumbers("logits", logits, want.hf_logits, width, tolerance)])).toEqual([]);
      if (golden === "full_mixtral") {
        const { prompt_ids, generated_ids, step_logits } = await json("full_mixtral_gen.json");
        logits.length = 0;
        expect(await greedy(session, prompt_ids, generated_ids.length)).toEqual(generated_ids);
        const steps = logits.slice((prompt_ids.length - 1) * width);
        expect(failed([compareNumbers("step logits", steps, step_logits, width, tolerance)])).toEqual([]);
      } else {
        const ids = want.greedy_ids ?? (await json(`${golden}_gen.json`)).greedy_ids;
        const prompt = golden === "gqa_mixtral" ? want.input_ids.slice(0, 3) : want.input_ids;
        expect(await greedy(session, prompt, ids.length)).toEqual(ids);
      }
      speaker.close();
    });

  test("atenia mixtral_layer0: one MoE layer, within 1e-6", async () => {
    const {
      input,
      hf_ref,
      d_model: width,
      d_ff: hidden,
      num_experts: experts,
      experts_per_token: top,
    } = await json("mixtral_layer0.json");
    const plain = { kind: "plain", dtype: "f32" } as const;
    const speaker = await platform.speaker();
    const { checkpoint } = await layerCheckpoint(await platform.bytes("atenia/mixtral_layer0.safetensors"));
    const layout = layExpert(width, hidden, plain, plain, plain);
    const slots = speaker.slots(top, layout.bytes, [experts]);
    const layer = { index: 0, experts, top, activation: SILU, expert: layout, slots };
    const weight = (rows: number, columns: number, bytes: Uint8Array<ArrayBuffer>) => {
      const made = speaker.weight(layMatrix(rows, columns, plain));
      speaker.write(made, 0, bytes);
      return made;
    };
    const x = weight(1, width, new Uint8Array(Float32Array.from(input).buffer));
    const router = weight(experts, width, checkpoint("gate.weight", 0, experts * width));
    const plan = speaker.record(
      "one",
      1,
      (ops) => {
        const one = ops.embed(x);
        const routes = ops.route(ops.linear(one, router), top, { ...SOFTMAX, renormalise: 0 });
        ops.tap("y", ops.experts(one, routes, layer));
      },
      { taps: "all" },
    );
    const pool = new Pool(slots, [layer], async (_layer, expert, accept) => {
      const record = new Uint8Array(layout.bytes);
      record.set(checkpoint("experts.gate_up_proj", expert * 2 * hidden * width, hidden * width), layout.w1.weight);
      record.set(
        checkpoint("experts.gate_up_proj", (expert * 2 + 1) * hidden * width, hidden * width),
        layout.w3.weight,
      );
      record.set(checkpoint("experts.down_proj", expert * hidden * width, hidden * width), layout.w2.weight);
      accept(0, record);
      return "memory";
    });
    await runStep(plan, { seq: 0, position: 0, count: 1, tokens: Uint32Array.of(0), sample: null, marked: 1 }, pool);
    const y = (await plan.taps()).get("y")!;
    expect(failed([compareNumbers("y", y, hf_ref, width, 1e-6)])).toEqual([]);
    speaker.close();
  });
}

/**
 * Opens the file of one layer. `checkpoint` gives floats [begin, begin + count) of a tensor, as
 * bytes.
 */
async function layerCheckpoint(file: Uint8Array<ArrayBuffer>) {
  const { parseSafetensorsHeader } = await import("../../src/format/safetensors.ts");
  const { tensors } = parseSafetensorsHeader(file, file.length);
  return {
    checkpoint: (name: string, begin: number, count: number) => {
      const entry = tensors.get(`model.layers.0.mlp.${name}`)!;
      return file.slice(entry.begin + begin * 4, entry.begin + (begin + count) * 4);
    },
  };
}

/**
 * Tests that the upcycled stories260K tells the story that llama2.c's own test expects, whichever
 * experts are chosen.
 */
export function testUpcycledStory(platform: Platform, slots: number): void {
  test("the upcycled stories260K tells llama2.c's story", async () => {
    const text = async (file: string) => new TextDecoder().decode(await platform.bytes(file));
    const tokenizer = loadTokenizer(JSON.parse(await text("tokenizers/stories260k/tokenizer.json")), undefined);
    const want = (await text("stories260K/golden.txt")).trimEnd();
    const speaker = await platform.speaker();
    const loaded = await loadModel(speaker, platform.open("stories260K-moe4-upcycled"), null, {
      quantize: false,
      slots,
    });
    const session = new Session(speaker, loaded);
    const stream = tokenizer.stream({ skipSpecialTokens: true });
    let { token } = await session.prefill([1], GREEDY);
    let story = stream.push(token);
    while (story.length < want.length) {
      ({ token } = await session.decode(token, GREEDY));
      story += stream.push(token);
    }
    expect(story).toBe(want);
    speaker.close();
  });
}
