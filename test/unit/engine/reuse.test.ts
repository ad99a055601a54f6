import { expect, test } from "vitest";
import { type Runnable, Session } from "../../../src/engine/session.ts";
import type { Cache, Plan, Report, Speaker, Step } from "../../../src/ops/ops.ts";

const [RING, WINDOW] = [10, 4];
const GREEDY = { temperature: 0, topK: 0, topP: 1, seed: 0 };

/**
 * A session on a device that only keeps, by place in the ring, which position's keys were written
 * there last. `failing`: the numbers of the steps that fail after they have written.
 */
function ringSession(caches: readonly Cache[], failing: readonly number[] = []) {
  const held = new Map<number, number>();
  const run = async ({ seq, position, count }: Step): Promise<Report> => {
    for (let at = position; at < position + count; at++) held.set(at % RING, at);
    if (failing.includes(seq)) throw new Error("the device failed");
    return {
      seq,
      began: true,
      stall: 0xffffffff,
      wanted: [],
      guesses: [],
      token: 0,
      finite: true,
    } as unknown as Report;
  };
  const plan = { form: "many", begin: 0, end: 1, run, taps: async () => new Map() } as unknown as Plan;
  const model = {
    say: () => {},
    width: 4,
    rings: caches,
    pool: null,
    contextLength: 1000,
    ahead: 0,
  } satisfies Runnable;
  const session = new Session({ record: () => plan } as unknown as Speaker, model, { chunk: 3 });
  /** Whether every key that the token at `position` sees is still in the ring. */
  const finds = (position: number) => {
    const first = Math.max(0, position - WINDOW + 1);
    return Array.from({ length: position - first }, (_, i) => first + i).every((at) => held.get(at % RING) === at);
  };
  return { session, finds };
}

const windowed: Cache = { ring: RING, width: 1, window: WINDOW };
const ids = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

test("exactly those prefixes are reused whose next token finds its whole window in the ring", async () => {
  for (let length = 1; length <= 3 * RING; length++)
    for (let common = 0; common <= length; common++) {
      const { session, finds } = ringSession([windowed]);
      await session.prefill(ids(length), GREEDY);
      const kept = session.reuse([...ids(common), 999]);
      expect([kept, session.position], `${common} of ${length}`).toEqual(finds(common) ? [common, common] : [0, 0]);
    }
});

test("a cache without a window is cut anywhere; with one that has lost its keys, all are emptied", async () => {
  const whole: Cache = { ring: 1000, width: 1, window: null };
  const { session } = ringSession([whole]);
  await session.prefill(ids(30), GREEDY);
  expect(session.reuse([...ids(5), 999])).toBe(5);
  const { session: both } = ringSession([whole, windowed]);
  await both.prefill(ids(30), GREEDY);
  expect(both.reuse([...ids(5), 999])).toBe(0);
});

test("at least one token of the prompt is left to run", async () => {
  const { session } = ringSession([windowed]);
  await session.prefill(ids(6), GREEDY);
  expect(session.reuse(ids(6))).toBe(5);
});

test("what a failed step or a cut has left in the ring counts as overwritten, until the cache is emptied", async () => {
  const { session, finds } = ringSession([windowed], [5]);
  await session.prefill(ids(9), GREEDY); // steps 0, 1, 2
  await session.decode(10, GREEDY);
  await session.decode(11, GREEDY);
  await expect(session.prefill([12, 13, 14], GREEDY)).rejects.toThrow("the device failed");
  expect(session.position).toBe(11);
  // Fourteen positions were written, so the ring holds 4 to 13: token 7 sees 4, token 6 sees 3.
  expect([finds(7), finds(6)]).toEqual([true, false]);
  expect(session.reuse([...ids(7), 999])).toBe(7);
  expect(session.reuse([...ids(6), 999])).toBe(0);
  await session.prefill(ids(8), GREEDY);
  session.reset();
  await session.prefill(ids(8), GREEDY);
  expect(session.reuse([...ids(1), 999])).toBe(1);
});
