import { expect, test } from "vitest";
import { Counters } from "../../../src/experts/counters.ts";
import type { PoolCounters, Stats } from "../../../src/index.ts";
import { Meter } from "../../../src/widget/meter.ts";
import { formatBytes, formatBytesLike, formatShare } from "../../../src/widget/numbers.ts";
import { ratesOf } from "../../../src/widget/rates.ts";
import { parseBudget } from "../../../src/widget/settings.ts";

const counters = (counts: Partial<PoolCounters>): PoolCounters => ({ ...new Counters().copy(), ...counts });
const stats = (decode: Partial<PoolCounters>): Stats => ({
  prefill: counters({ tokens: 90, misses: 40 }),
  decode: counters(decode),
  slots: 2,
  residentExperts: 2,
  mode: "grouped",
  recall: [],
});

test("an answer's rates are of its own tokens, whatever was counted before it", () => {
  const meter = new Meter(stats({ tokens: 10, hits: 100, misses: 0, passes: 10 }));
  expect(ratesOf(meter.none().decode)).toEqual({});
  const now = stats({ tokens: 14, hits: 103, misses: 1, passes: 30, uploadedBytes: 400 });
  const { decode, tokens } = meter.live(now);
  expect(tokens).toBe(4);
  expect(ratesOf(decode)).toEqual({ hitRate: 0.75, bytesPerToken: 100, passesPerToken: 5 });
});

test("a dense model counts no experts; its live tokens are the pieces of text", () => {
  const meter = new Meter(stats({}));
  meter.token();
  meter.token();
  const { decode, tokens } = meter.live(stats({}));
  expect(tokens).toBe(2);
  expect(ratesOf(decode)).toEqual({});
});

test("bytes keep the unit of the most there can be", () => {
  expect([0, 61_800, 622_080].map((bytes) => formatBytesLike(bytes, 622_080))).toEqual(["0 kB", "62 kB", "622 kB"]);
  expect([0, 9e7, 6.6e9].map((bytes) => formatBytesLike(bytes, 6.6e9))).toEqual(["0.00 GB", "0.09 GB", "6.60 GB"]);
  expect([999, 999_600, 2.96e6].map(formatBytes)).toEqual(["999 bytes", "1.0 MB", "3.0 MB"]);
  expect(formatShare(999, 1000)).toBe("99.9 %");
});

test("budgets are read as people write them", () => {
  const written = ["", null, "all", " Auto ", "64 MB", "1GiB", "12"];
  const read = [undefined, undefined, Number.MAX_SAFE_INTEGER, "auto", 64e6, 2 ** 30, 12];
  expect(written.map(parseBudget)).toEqual(read);
  for (const text of ["lots", "2constructor", "3toString"]) expect(() => parseBudget(text)).toThrow(`budget="${text}"`);
});
