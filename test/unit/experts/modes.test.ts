import { expect, test } from "vitest";
import { Modes } from "../../../src/experts/modes.ts";
import { Pace } from "../../../src/experts/pace.ts";
import type { Plan } from "../../../src/ops/ops.ts";

test("tokens are queued while every expert is resident, whatever happened before", () => {
  const modes = new Modes(32);
  for (let token = 0; token < 50; token++) modes.note(32);
  expect(modes.choose(true)).toBe("queued");
  expect(modes.choose(false)).toBe("grouped");
});

test("many layers with a miss make groups, as long as misses are apart; few make one submission again", () => {
  const modes = new Modes(32);
  expect([modes.choose(false), modes.group()]).toEqual(["optimistic", 32]);
  for (let token = 0; token < 100; token++) modes.note(15);
  expect([modes.choose(false), modes.group()]).toEqual(["grouped", 2]);
  for (let token = 0; token < 100; token++) modes.note(7.1);
  expect([modes.choose(false), modes.group()]).toEqual(["grouped", 5]);
  for (let token = 0; token < 100; token++) modes.note(1);
  expect([modes.choose(false), modes.group()]).toEqual(["optimistic", 32]);
});

test("a mode can be forced, but nothing is queued while experts may be missing", () => {
  expect(new Modes(8, "grouped").choose(true)).toBe("grouped");
  expect(new Modes(8, "optimistic").choose(true)).toBe("optimistic");
  expect(new Modes(8, "queued").choose(true)).toBe("queued");
  expect(new Modes(8, "queued").choose(false)).toBe("optimistic");
});

test("a submission holds as many layers as run in half a second", () => {
  const plan = (form: "one" | "many", bucket: number) => ({ form, bucket }) as Plan;
  const pace = new Pace();
  expect(pace.layers(plan("many", 256), 32)).toBe(1);
  expect(pace.layers(plan("one", 1), 32)).toBe(32);
  pace.note(plan("many", 256), 1, 100);
  expect(pace.layers(plan("many", 256), 32)).toBe(5);
  expect(pace.layers(plan("many", 16), 32)).toBe(1);
  pace.note(plan("many", 256), 5, 5000);
  expect(pace.layers(plan("many", 256), 32)).toBe(1);
  for (let run = 0; run < 20; run++) pace.note(plan("many", 256), 1, 2);
  expect(pace.layers(plan("many", 256), 32)).toBe(32);
  pace.note(plan("one", 1), 32, 3200);
  expect(pace.layers(plan("one", 1), 32)).toBe(5);
});
