import { expect, test } from "vitest";
import { setBit } from "../../../src/base/bits.ts";
import { Counters } from "../../../src/experts/counters.ts";
import { Prefetch } from "../../../src/experts/prefetch.ts";

const SHAPE = { layers: 4, experts: 8, top: 2 };
const bits = (...experts: number[]): Uint32Array => {
  const set = new Uint32Array(1);
  for (const expert of experts) setBit(set, expert);
  return set;
};
const nothing = () => false;

test("guesses about layers to come are heard, those about layers that were passed are not", () => {
  const ahead = new Prefetch(SHAPE, new Counters());
  ahead.begin();
  ahead.hear([{ layer: 1, from: 0, experts: bits(3) }], 1);
  ahead.compare(0, bits(1, 2));
  // The layer that comes next is no longer the past's affair, and the guess may be a better one.
  ahead.hear([{ layer: 1, from: 0, experts: bits(5) }], 1);
  expect(ahead.candidates(0, nothing)).toEqual([8 + 5]);
  ahead.compare(1, bits(5, 6));
  ahead.hear([{ layer: 1, from: 0, experts: bits(7) }], 2);
  expect(ahead.candidates(0, nothing)).toEqual([]);
  expect(ahead.recall).toEqual([0, 0.5, 0, 0]);
});

test("at most two experts of a layer are read ahead at a time, none that is resident or under way", async () => {
  const ahead = new Prefetch(SHAPE, new Counters());
  ahead.begin();
  ahead.hear(
    [
      { layer: 1, from: 0, experts: bits(0, 2, 4, 6) },
      { layer: 2, from: 0, experts: bits(1) },
      { layer: 3, from: 0, experts: bits(1) },
    ],
    1,
  );
  expect(ahead.candidates(0, (id) => id === 8)).toEqual([10, 12, 17]);
  let end = () => {};
  ahead.start(10, () => new Promise((resolve) => (end = resolve)));
  expect(ahead.candidates(0, nothing)).toEqual([8, 17]);
  expect(ahead.held).toBe(1);
  end();
  await ahead.quiet();
  expect(ahead.held).toBe(0);
});
