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
