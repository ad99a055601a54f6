import { loadModel } from "../../src/engine/load.ts";
import { Session } from "../../src/engine/session.ts";
import { attention } from "../../src/layers/attention.ts";
import { type Blueprint, buildOnPaper, weightKey } from "../../src/layers/blueprint.ts";
import type { Builder, Speech } from "../../src/layers/builder.ts";
import { type BlockParts, decoder } from "../../src/layers/decoder.ts";
import { chain, linear, router } from "../../src/layers/linear.ts";
import { mixture, SILU, SOFTMAX, swiglu } from "../../src/layers/mixture.ts";
import { rmsNorm } from "../../src/layers/norm.ts";
import { inverseFrequencies } from "../../src/layers/rope_table.ts";
import { rotation } from "../../src/layers/rotation.ts";
import { expertsUnder } from "../../src/models/expert_names.ts";
import type { RoutingRule, Sampling, Speaker } from "../../src/ops/ops.ts";
import { type ComputedTensor, computedSource } from "./computed_source.ts";
import { norms, numbersOf } from "./synthetic_model.ts";

const [D, H, C, V, EPS] = [16, 2, 8, 37, 1e-5];

/**
 * A model whose layers differ in all that may differ: window, key/value heads, rope, E, A, F, the
 * routing rule; one has no experts at all.
 */
export const LAYERS: readonly {
  readonly window: number | null;
  readonly K: number;
  readonly base: number;
  readonly F: number;
  readonly sparse: { readonly E: number; readonly A: number; readonly rule: RoutingRule } | null;
}[] = [
  { window: 6, K: 1, base: 1e4, F: 24, sparse: { E: 5, A: 2, rule: { ...SOFTMAX, renormalise: 0 } } },
  { window: null, K: 2, base: 1e6, F: 32, sparse: null },
  { window: 9, K: 2, base: 1e4, F: 40, sparse: { E: 3, A: 1, rule: SOFTMAX } },
  { window: null, K: 1, base: 1e6, F: 8, sparse: { E: 40, A: 3, rule: { ...SOFTMAX, renormalise: 0 } } },
];

function build(m: Builder): Speech {
  const turns = new Map(
    [1e4, 1e6].map((base) => [base, rotation(m, { frequencies: inverseFrequencies(base, C), scale: 1 }, C, "halves")]),
  );
  const embedding = m.weight({ names: [{ module: "embedding" }], shape: [V, D], role: "embedding" });
  const blocks = LAYERS.map(({ window, K, base, F, sparse }, l): BlockParts => {
    const turn = turns.get(base)!;
    return {
      attentionNorm: rmsNorm(m, `${l}.norm`, D, EPS),
      attention: attention({
        q: chain(linear(m, `${l}.q`, [H * C, D]), rmsNorm(m, `${l}.q_norm`, C, EPS), turn),
        k: chain(linear(m, `${l}.k`, [K * C, D]), turn),
        v: linear(m, `${l}.v`, [K * C, D]),
        o: linear(m, `${l}.o`, [D, H * C]),
        over: { cache: m.cache({ width: K * C, window }), headWidth: C, divisor: Math.sqrt(C), sinks: null },
      }),
      ffnNorm: rmsNorm(m, `${l}.ffn_norm`, D, EPS),
      ...(sparse
        ? mixture(
            router(m, `${l}.gate`, [sparse.E, D]),
            sparse.rule,
            m.experts({
              experts: sparse.E,
              top: sparse.A,
              width: D,
              hidden: F,
              activation: SILU,
              names: expertsUnder(`${l}`, F),
            }),
          )
        : { feedForward: swiglu(m, `${l}.mlp`, [F, D]) }),
    };
  });
  return decoder({
    embed: (ops) => ops.embed(embedding),
    blocks,
    norm: rmsNorm(m, "norm", D, EPS),
    head: linear(m, "head", [V, D]),
  });
}

/** Every tensor that a blueprint asks for, in f32, under the first of its names. */
function tensorsOf({ weights, experts }: Blueprint): ComputedTensor[] {
  const tensors: ComputedTensor[] = [];
  const add = (module: string, shape: readonly number[], mask: ComputedTensor["mask"]) =>
    tensors.push({ name: `${module}.weight`, dtype: "F32", shape, stream: { seed: 9, stream: tensors.length }, mask });
  const matrix = (module: string, shape: readonly number[]) =>
    add(module, shape, numbersOf("f32", module === "embedding" ? 4 : 1.5 / Math.sqrt(shape.at(-1)!)));
  for (const spec of weights)
    if (spec.role === "norm") add(weightKey(spec), [spec.shape[1]], norms("f32"));
    else matrix(weightKey(spec), spec.shape);
  for (const { experts: count, width, hidden, names } of experts)
    for (let expert = 0; expert < count; expert++) {
      matrix(names(expert, "w1")[0]!.module, [hidden, width]);
      matrix(names(expert, "w3")[0]!.module, [hidden, width]);
      matrix(names(expert, "w2")[0]!.module, [width, hidden]);
    }
  return tensors;
}

const SAMPLING: Sampling = { temperature: 0.9, topK: 0, topP: 1, seed: 3 };

export interface UnevenOptions {
  readonly slots?: number;
  readonly chunk?: number;
  readonly prefetch?: boolean;
}

/**
 * Opens the model, and lets it read a prompt and answer. Returns its words, every row of logits,
 * and its pool.
 */
export async function unevenAnswer(speaker: Speaker, { slots, chunk = 256, prefetch = false }: UnevenOptions = {}) {
  const model = { modelType: "uneven", width: D, vocabulary: V, layers: LAYERS.length, positions: 64, build };
  const tensors = tensorsOf(buildOnPaper(build, () => true));
  const loaded = await loadModel(speaker, computedSource({}, tensors), null, {
    quantize: false,
    contextLength: 64,
    read: () => model,
    slots,
    prefetch,
  });
  const logits: number[] = [];
  const session = new Session(speaker, loaded, {
    chunk,
    taps: "all",
    onTaps: (taps) => logits.push(...taps.get("logits")!),
  });
  const prompt = Array.from({ length: 30 }, (_, index) => (index * 17 + 5) % V);
  let { token } = await session.prefill(prompt, SAMPLING);
  const words = [token];
  while (words.length < 10) {
    ({ token } = await session.decode(token, SAMPLING));
    words.push(token);
  }
  const pool = loaded.pool!;
  await pool.quiet();
  return { words, logits, pool, loaded };
}
