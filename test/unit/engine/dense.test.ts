import { expect, test } from "vitest";
import { Connections } from "../../../src/engine/connections.ts";
import { denseModule, loadDense } from "../../../src/engine/dense.ts";
import { openRepository } from "../../../src/engine/repository.ts";
import type { WeightSpec } from "../../../src/layers/builder.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { numbersOf } from "../../../src/ops/cpu/tensors.ts";
import { memoryStore } from "../../../src/store/memory.ts";
import { computedSource } from "../../support/computed_source.ts";
import { norms } from "../../support/synthetic_model.ts";

/** Loads one matrix of f32, first from the source, then from what the store kept. */
async function loaded(dtype: "F32" | "BF16", spec: Omit<WeightSpec, "names">): Promise<Float32Array[]> {
  const mask = norms(dtype === "F32" ? "f32" : "bf16");
  const source = computedSource({}, [
    { name: "a.weight", dtype, shape: [...spec.shape], stream: { seed: 3, stream: 0 }, mask },
  ]);
  const { checkpoint } = await openRepository(source, null, "none");
  const module = denseModule({ names: [{ module: "a" }], ...spec }, checkpoint, ({ encoding }) => encoding);
  const store = memoryStore();
  const [speaker, reading] = [cpuSpeaker(), { source, connections: new Connections(), purpose: { inDemand: true } }];
  const given: Float32Array[] = [];
  for (const from of ["network", "store"]) {
    const origins: string[] = [];
    const [weight] = await loadDense([module], {
      speaker,
      store,
      prefix: "p/",
      reading,
      onLoaded: (_, origin) => origins.push(origin),
      onUnkept: (_, error) => expect.fail(error.message),
    });
    expect(new Set(origins)).toEqual(new Set([from]));
    given.push(numbersOf(weight!).slice());
  }
  return given;
}

test.each(["F32", "BF16"] as const)(
  "what is added to a norm of %s is added once, from the store too",
  async (dtype) => {
    const [plain] = await loaded(dtype, { shape: [1, 6], role: "norm" });
    const [first, second] = await loaded(dtype, { shape: [1, 6], role: "norm", plus: 1 });
    expect(plain!.every((value) => value >= 1 && value < 1.25)).toBe(true);
    expect([...first!]).toEqual([...plain!].map((value) => Math.fround(value + 1)));
    expect(second).toEqual(first);
  },
);

test("a table that is kept in f32 may have several rows", async () => {
  const [first, second] = await loaded("BF16", { shape: [4, 3], role: "norm" });
  expect(first).toHaveLength(12);
  expect(second).toEqual(first);
});
