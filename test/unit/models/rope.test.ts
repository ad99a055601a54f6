import { expect, test } from "vitest";
import { inverseFrequencies } from "../../../src/layers/rope_table.ts";
import { Config } from "../../../src/models/config.ts";
import { readRope, ropeParameters } from "../../../src/models/rope.ts";

/** A rope read from config.json, for heads of 16 and 1024 positions; base 1e4 where it is silent. */
const rope = (json: object, { headWidth = 16, positions = 1024 } = {}) => {
  const config = new Config(json);
  const base = config.positive("rope_theta", 1e4);
  return readRope(config, { parameters: ropeParameters(config), base, headWidth, positions });
};

/** Within the rounding of f32. */
function expectFrequencies(json: object, wanted: readonly number[]): void {
  const { frequencies } = rope(json);
  expect(frequencies.length).toBe(wanted.length);
  for (const [index, value] of wanted.entries()) expect(frequencies[index]! / value).toBeCloseTo(1, 6);
}

const YARN = { rope_type: "yarn", factor: 8 };
const LLAMA3 = {
  rope_type: "llama3",
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 64,
};
const LONG = {
  rope_type: "longrope",
  short_factor: [1, 1.05, 1.1, 1.2, 1.4, 1.7, 2, 2.5],
  long_factor: [1, 1.5, 2.5, 4, 6, 8, 12, 16],
  original_max_position_embeddings: 128,
};

test("the base stands in rope_parameters, at the top, or nowhere", () => {
  const plain = (base: number) => ({ frequencies: inverseFrequencies(base, 16), scale: 1, positions: 1024 });
  for (const json of [
    { rope_theta: 5e5 },
    { rope_parameters: { rope_theta: 5e5 } },
    { rope_parameters: { rope_theta: 5e5, rope_type: "default" }, rope_theta: 7 },
    { rope_theta: 5e5, rope_scaling: null, rope_parameters: null },
    { rope_theta: 5e5, rope_parameters: { rope_theta: null, type: "default" } },
  ])
    expect(rope(json)).toEqual(plain(5e5));
  expect(rope({})).toEqual(plain(1e4));
});

test.each([
  ["rope_parameters", (keys: object) => ({ rope_parameters: keys })],
  ["rope_scaling", (keys: object) => ({ rope_scaling: keys })],
  [
    "rope_scaling with the older `type`",
    ({ rope_type: type, ...keys }: { rope_type: string }) => ({
      rope_scaling: { type, ...keys },
    }),
  ],
] as const)("every type is read from %s", (_, in_) => {
  expectFrequencies(
    in_({ rope_type: "linear", factor: 4 } as { rope_type: string }),
    [...inverseFrequencies(1e4, 16)].map((f) => f / 4),
  );
  expectFrequencies(in_(LLAMA3), [1, 0.2443846, 0.013042256, 3.952847e-3, 1.25e-3, 3.952847e-4, 1.25e-4, 3.952847e-5]);
  expectFrequencies(in_(YARN), [1, 0.31622777, 0.078125, 0.017787812, 3.4375e-3, 3.952847e-4, 1.25e-4, 3.952847e-5]);
  expectFrequencies(
    in_(LONG),
    LONG.short_factor.map((factor, i) => inverseFrequencies(1e4, 16)[i]! / factor),
  );
});

test("dynamic scaling stretches nothing up to max_position_embeddings, which is as far as we go", () => {
  expect(rope({ rope_scaling: { type: "dynamic", factor: 4 } })).toEqual(rope({}));
  expect(rope({ rope_scaling: { type: "mrope", mrope_section: [4, 2, 2] } })).toEqual(rope({}));
});

test("YaRN's keys: the range may be unrounded, betas and the original context given", () => {
  expectFrequencies(
    { rope_scaling: { ...YARN, truncate: false } },
    [1, 0.31622777, 0.082965076, 0.017044109, 2.4831334e-3, 3.952847e-4, 1.25e-4, 3.952847e-5],
  );
  expectFrequencies(
    { rope_scaling: { ...YARN, beta_fast: 8, beta_slow: 2 } },
    [1, 0.31622777, 0.1, 0.017787812, 1.25e-3, 3.952847e-4, 1.25e-4, 3.952847e-5],
  );
  const early = rope({ rope_scaling: { ...YARN, original_max_position_embeddings: 128 } });
  expect(early.frequencies).not.toEqual(rope({ rope_scaling: YARN }).frequencies);
  expect(rope({ rope_scaling: YARN, original_max_position_embeddings: 128 })).toEqual(early);
  // A factor that is not given follows from how far the context was stretched.
  const { factor: _, ...silent } = YARN;
  expect(rope({ rope_scaling: { ...silent, original_max_position_embeddings: 128 } })).toEqual(early);
});

test("YaRN's growth of cos and sin: by factor, by both mscales, or as given", () => {
  const scale = (keys: object) => rope({ rope_scaling: { ...YARN, ...keys } }).scale;
  expect(scale({})).toBeCloseTo(1.2079441542, 9);
  expect(scale({ mscale: 0.5, mscale_all_dim: 0.7 })).toBeCloseTo(0.963695662, 9);
  expect(scale({ mscale: 0.8, mscale_all_dim: 0.8 })).toBe(1);
  expect(scale({ mscale: 0.5 })).toBeCloseTo(1.2079441542, 9);
  expect(scale({ mscale: 0.5, mscale_all_dim: 0 })).toBeCloseTo(1.2079441542, 9);
  expect(scale({ attention_factor: 1.5, mscale: 0.5, mscale_all_dim: 0.7 })).toBe(1.5);
  expect(scale({ factor: 1 })).toBe(1);
});

test("LongRoPE ends where other factors would begin, and grows cos and sin as it says", () => {
  expect(rope({ rope_scaling: LONG })).toMatchObject({ positions: 128, scale: expect.closeTo(1.1952286093, 9) });
  expect(rope({ rope_scaling: { ...LONG, short_mscale: 1.1 } }).scale).toBe(1.1);
  expect(rope({ rope_scaling: { ...LONG, attention_factor: 1.3 } }).scale).toBe(1.3);
  const { original_max_position_embeddings: original, ...outside } = LONG;
  expect(rope({ rope_scaling: outside, original_max_position_embeddings: original }).positions).toBe(128);
});

test("a part of a head turns", () => {
  expect(rope({ partial_rotary_factor: 0.5 }).frequencies).toEqual(inverseFrequencies(1e4, 8));
  expect(rope({ rope_parameters: { partial_rotary_factor: 0.25 } }).frequencies).toEqual(inverseFrequencies(1e4, 4));
  expect(rope({ partial_rotary_factor: 1 })).toEqual(rope({}));
});

test("a rope that cannot be computed is refused by name", () => {
  for (const [json, name] of [
    [{ rope_scaling: { rope_type: "proportional" } }, "proportional"],
    [{ rope_scaling: { rope_type: "linear" } }, "factor"],
    [{ rope_scaling: { rope_type: "linear", factor: "4" } }, "factor"],
    [{ rope_scaling: { ...LLAMA3, low_freq_factor: null } }, "low_freq_factor"],
    [{ rope_scaling: { ...LLAMA3, high_freq_factor: 1 } }, "high_freq_factor"],
    [{ rope_scaling: { ...LONG, short_factor: [1, 2] } }, "short_factor"],
    [{ rope_scaling: { ...YARN, truncate: 1 } }, "truncate"],
    [{ rope_scaling: { ...YARN, original_max_position_embeddings: -1 } }, "original_max_position_embeddings"],
    [{ partial_rotary_factor: 0.2 }, "partial_rotary_factor"],
    [{ partial_rotary_factor: 1.5 }, "partial_rotary_factor"],
    [{ rope_theta: 0 }, "rope_theta"],
    [{ rope_parameters: [] }, "rope_parameters"],
    [{ rope_parameters: { full_attention: { rope_theta: 1e6 } } }, "full_attention"],
  ] as const)
    expect(() => rope(json), JSON.stringify(json)).toThrow(
      expect.objectContaining({ code: "bad-config", message: expect.stringContaining(name) }),
    );
});
