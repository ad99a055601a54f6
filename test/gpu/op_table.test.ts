import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cpuSpeaker } from "../../src/ops/cpu/speaker.ts";
import { type GpuSpeaker, gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import { differences } from "../support/compare.ts";
import { OP_TABLE, runCase } from "../support/op_table.ts";

/** Parts that other shaders are made of. */
const PARTS = ["prelude", "activation", "bias", "decode", "routes", "pages", "weigh"];
const SHADERS = Object.keys(import.meta.glob("../../shaders/*.wgsl")).map((path) => path.match(/(\w+)\.wgsl$/)![1]!);

let gpu: GpuSpeaker;

beforeAll(async () => {
  gpu = await gpuSpeaker();
});
afterAll(() => gpu.close());

describe("each verb means the same on both speakers:", () => {
  for (const op of OP_TABLE)
    for (const form of op.forms)
      test(`${op.title} (${form})`, async () => {
        const expected = await runCase(cpuSpeaker(), op, form);
        const actual = await runCase(gpu, op, form);
        expect([...actual.taps.keys()].sort()).toEqual([...expected.taps.keys()].sort());
        for (const [name, values] of expected.taps)
          expect(differences(actual.taps.get(name)!, values, op.tolerance), name).toBe("");
        expect(actual.tokens).toEqual(expected.tokens);
        expect(actual.guesses).toEqual(expected.guesses);
      });
});

test("every shader has a line in the table", () => {
  const kernels = SHADERS.filter((name) => !PARTS.includes(name)).sort();
  expect([...gpu.kernels].sort()).toEqual(kernels);
});
