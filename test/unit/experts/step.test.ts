import { expect, test } from "vitest";
import { conversation, SHAPES } from "../../support/scheduler.ts";

const [shape] = SHAPES;
const small = { shape: shape!, prompt: 9, generate: 6 };

test("passes per token are 1 + layers with a miss", async () => {
  const { pool } = await conversation({ ...small, slots: 6, mode: "optimistic" });
  const { decode } = pool;
  expect(decode.tokens).toBe(5);
  expect(decode.hits + decode.misses).toBe(5 * shape!.layers * shape!.top);
  expect(decode.misses).toBeGreaterThan(0);
  expect(decode.passes).toBeGreaterThan(decode.tokens);
  expect(decode.passes - decode.tokens).toBeLessThanOrEqual(decode.misses);
});

test("with every expert resident a token is one pass", async () => {
  const { pool } = await conversation({ ...small, slots: 15, prompt: 33, generate: 20 });
  expect(pool.residentExperts).toBe(15);
  const { decode } = pool;
  expect(decode.passes - decode.tokens).toBeLessThanOrEqual(decode.misses);
  expect(pool.mode).toBe("queued");
});

test("a segment reads each expert at most once per layer, even with A slots, and counts each missing one once", async () => {
  const given = { shape: shape!, prompt: 64, generate: 1, chunk: 4, slots: shape!.top };
  const { pool, reads } = await conversation(given);
  expect(pool.prefill.uploads).toBe(reads);
  expect(pool.prefill.uploads).toBe(pool.prefill.misses);
  expect(pool.prefill.uploads).toBeLessThanOrEqual(shape!.layers * shape!.experts);
});
