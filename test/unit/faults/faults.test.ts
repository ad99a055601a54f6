/** The short form of `npm run test:faults`: some hundred cases of each part, always the same. */
import { expect, test } from "vitest";
import { INPUTS, OTHERS } from "../../faults/parts.ts";

const CASES = {
  headers: 400,
  indexes: 200,
  configs: 150,
  weights: 60,
  tokenizers: 60,
  templates: 60,
  answers: 100,
  loads: 30,
};

test.each(Object.entries(CASES))("%s: %i mutated ones each work or are refused by name", async (name, cases) => {
  const tally = await INPUTS[name]!.run(cases, 20261127);
  expect(tally.wrong).toEqual([]);
  expect(tally.cases).toBe(cases);
  expect(tally.worked, "some do no harm").toBeGreaterThan(0);
  expect(tally.refused.size, "some are refused").toBeGreaterThan(0);
});

test("every part has a short form", () => {
  expect(Object.keys(CASES)).toEqual(Object.keys(INPUTS));
});

test("whatever is damaged at rest, the answer is the same", async () => {
  const tally = await OTHERS.damage(25, 20261127);
  expect([tally.wrong, tally.worked]).toEqual([[], 25]);
});

test("short outages are not noticed, longer ones are named, and the next visit answers", async () => {
  const tally = await OTHERS.outages(12, 20261127);
  expect([tally.wrong, tally.cases]).toEqual([[], 12]);
});
