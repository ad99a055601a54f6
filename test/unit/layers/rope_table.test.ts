import { expect, test } from "vitest";
import { inverseFrequencies, ropeTable } from "../../../src/layers/rope_table.ts";

test("a row has the cosines of its position, then the sines, both times the scale", () => {
  const frequencies = Float32Array.of(1, 0.25);
  const [plain, grown] = [ropeTable(frequencies, 4, 1), ropeTable(frequencies, 4, 1.5)];
  expect(plain).toHaveLength(4 * 4);
  expect([...plain.subarray(0, 4)]).toEqual([1, 1, 0, 0]);
  const third = [Math.cos(3), Math.cos(0.75), Math.sin(3), Math.sin(0.75)];
  expect([...plain.subarray(12)]).toEqual(third.map(Math.fround));
  expect([...grown.subarray(12)]).toEqual(third.map((value) => Math.fround(value * 1.5)));
});

test("half as many frequencies as channels that turn, from 1 downwards", () => {
  expect([...inverseFrequencies(1e4, 8)]).toEqual([1, 0.1, 0.01, 0.001].map(Math.fround));
});

/**
 * Computed by another program (Python's math and struct): each θ in f32, p θ rounded to f32, then
 * cos and sin. Where p θ is not rounded, all but θ = 1 differ at the later position, by up to 1e-4.
 */
const COS_AND_SIN: readonly (readonly [number, readonly number[]])[] = [
  [0, [1, 1, 1, 1, 0, 0, 0, 0]],
  [
    4095,
    [
      -0.06597599387168884, -0.7712547779083252, -0.5789079070091248, 0.9916272163391113, -0.9978212118148804,
      -0.6365265846252441, -0.8153929114341736, 0.12913364171981812,
    ],
  ],
  [
    131071,
    [
      -0.8179835081100464, -0.48153460025787354, 0.6403117179870605, -0.5375763773918152, -0.5752416849136353,
      -0.8764270544052124, -0.7681151628494263, -0.8432150483131409,
    ],
  ],
];

test("angles are rounded to f32 before cos and sin, as in transformers: the bits differ far from the start", () => {
  const table = ropeTable(inverseFrequencies(1e6, 8), 131_072, 1);
  expect(table).toHaveLength(131_072 * 8);
  for (const [position, row] of COS_AND_SIN)
    expect([...table.subarray(position * 8, position * 8 + 8)], `position ${position}`).toEqual(row);
});

test("frequencies are rounded to f32 at each of their steps", () => {
  expect([...inverseFrequencies(1e6, 8)]).toEqual([
    1, 0.03162277862429619, 0.0010000000474974513, 0.00003162277425872162,
  ]);
});
