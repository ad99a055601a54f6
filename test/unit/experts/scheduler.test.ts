import fc from "fast-check";
import { expect, test } from "vitest";
import { NONE, type Taps } from "../../../src/ops/ops.ts";
import { ALL } from "../../support/all.ts";
import { type Conditions, conversation, SHAPES } from "../../support/scheduler.ts";

/**
 * `MIXTAB_CASES=10000 npx vitest run test/unit/experts/scheduler.test.ts` runs longer; MIXTAB_SEED
 * draws others.
 */
const CASES = Number(process.env.MIXTAB_CASES ?? (ALL ? 2000 : 120));
const SEED = Number(process.env.MIXTAB_SEED ?? 20261124);

const conditions = fc.constantFrom(...SHAPES).chain((shape) => {
  const all = shape.layers * shape.experts;
  const slots = fc.integer({ min: shape.top, max: all });
  const some = fc.array(fc.nat({ max: 40 }), { maxLength: 3 });
  return fc.record({
    shape: fc.constant(shape),
    slots: fc.oneof(slots, fc.constant(all), fc.constant(shape.top)),
    prompt: fc.integer({ min: 1, max: 40 }),
    generate: fc.integer({ min: 1, max: 12 }),
    chunk: fc.constantFrom(1, 3, 7, 16, 40),
    mode: fc.constantFrom("auto", "queued", "optimistic", "grouped"),
    prefetch: fc.boolean(),
    readsAtOnce: fc.integer({ min: 1, max: 4 }),
    delays: fc.array(fc.nat({ max: 60 }), { maxLength: 7 }),
    failing: some,
    aborting: some,
    leaving: fc.array(fc.integer({ min: 2, max: 11 }), { maxLength: 3 }),
    budgets: fc.array(fc.record({ token: fc.integer({ min: 1, max: 11 }), slots }), { maxLength: 3 }),
    refused: fc.boolean(),
    taps: fc.constantFrom("none", "all"),
  });
}) satisfies fc.Arbitrary<Conditions>;

const answers = new Map<string, Awaited<ReturnType<typeof conversation>>>();

/** The same conversation with every expert resident, in one chunk, undisturbed. */
async function resident({ shape, prompt, generate, taps }: Conditions & { readonly taps: Taps }) {
  const key = JSON.stringify([shape, prompt, generate, taps]);
  const slots = shape.layers * shape.experts;
  const known = answers.get(key) ?? (await conversation({ shape, prompt, generate, slots, taps, mode: "optimistic" }));
  answers.set(key, known);
  return known;
}

test("whatever the budget, chunks, mode, guesses, delays, failures and aborts: the bits of the resident model", async () => {
  await fc.assert(
    fc.asyncProperty(conditions, async (given) => {
      const [got, want] = [await conversation(given), await resident(given)];
      expect(got.words).toEqual(want.words);
      expect(got.caches).toEqual(want.caches);
      const calm = given.failing.length + given.aborting.length === 0;
      if (calm) expect(got.logits).toEqual(want.logits);

      const { pool, toy, told, twice, unsafe, uploads, reads } = got;
      const inVain = pool.decode.tokens - (given.generate - 1);
      if (calm) expect(inVain).toBeLessThanOrEqual(2 * given.leaving.length);
      expect([twice, unsafe]).toEqual([[], []]);
      const used = [...told.table].filter(([, slot]) => slot !== NONE);
      expect(new Set(used.map(([, slot]) => slot)).size, "no slot is used twice").toBe(used.length);
      for (const [id, slot] of used) expect([slot < toy.slots.count, told.owners.get(slot)]).toEqual([true, id]);
      expect(pool.residentExperts).toBe(used.length);

      const { prefill, decode } = pool;
      expect(prefill.uploads + decode.uploads).toBe(uploads);
      expect(prefill.uploadedBytes + decode.uploadedBytes).toBe(uploads * toy.slots.bytes);
      if (calm) {
        expect(reads).toBe(uploads);
        expect(prefill.tokens).toBe(given.prompt);
        expect(prefill.uploads).toBe(prefill.misses);
        expect(decode.uploads).toBeGreaterThanOrEqual(decode.misses);
        if (!given.prefetch) expect(decode.uploads).toBe(decode.misses);
        expect(decode.hits + decode.misses).toBe(decode.tokens * given.shape.layers * given.shape.top);
      }
      const { usefulPrefetchBytes, wastedPrefetchBytes, latePrefetchBytes } = decode;
      const guessed = usefulPrefetchBytes + wastedPrefetchBytes + latePrefetchBytes;
      expect(guessed).toBeLessThanOrEqual(decode.prefetches * toy.slots.bytes);
    }),
    { numRuns: CASES, seed: SEED },
  );
});
