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

test("a prompt's chunks compute what is resident before anything is read, then while the next expert is read", async () => {
  const log: string[] = [];
  const { pool } = await conversation({
    ...small,
    prompt: 40,
    generate: 1,
    chunk: 16,
    slots: 3,
    delays: [3],
    log: (event) => log.push(event),
  });
  const [first] = log;
  expect(first).toBe("run 0-1");
  let reading = 0;
  let overlaps = 0;
  for (const event of log) {
    if (event.startsWith("read")) reading++;
    if (event.startsWith("came")) reading--;
    if (event.startsWith("run") && reading > 0) overlaps++;
  }
  expect(overlaps).toBeGreaterThan(0);
  // All three chunks come to a layer before the first read for it begins.
  const layers = log.filter((event) => !event.startsWith("came")).join(" ");
  expect(layers.match(/(run 0-1 ){3}read 0/)).not.toBeNull();
  expect(pool.prefill.uploads).toBe(log.filter((event) => event.startsWith("read")).length);
});

test("a trace says of each miss that its expert was not resident, and of nothing else", async () => {
  const { trace, pool } = await conversation({ ...small, slots: 6, taps: "routes" });
  const rows = trace!
    .csv()
    .trimEnd()
    .split("\n")
    .map((row) => row.split(","));
  const generated = rows.filter(([, phase]) => phase === "1");
  expect(generated.filter((row) => row[7] === "0")).toHaveLength(pool.decode.misses);
  expect(generated.filter((row) => row[7] === "1")).toHaveLength(pool.decode.hits);
});
