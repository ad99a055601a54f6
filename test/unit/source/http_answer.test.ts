import { afterEach, expect, test, vi } from "vitest";
import { type Passing, statusError } from "../../../src/source/http_answer.ts";

const NOW = Date.UTC(2026, 10, 27, 12);
const later = (ms: number) => new Date(NOW + ms).toUTCString();
const waitOf = (headers: Record<string, string>) =>
  (statusError(new Response(null, { status: 503, headers }), "a.bin") as Passing).outcome.waitMs;

afterEach(() => vi.restoreAllMocks());

test("a Retry-After in seconds, or a date by the server's clock, else by ours, is how long it asks to be left alone", () => {
  vi.spyOn(Date, "now").mockReturnValue(NOW);
  expect(waitOf({ "Retry-After": "7" })).toBe(7000);
  expect(waitOf({ "Retry-After": later(30_000) })).toBe(30_000);
  expect(waitOf({ "Retry-After": later(30_000), Date: later(10_000) })).toBe(20_000);
  expect(waitOf({ "Retry-After": later(30_000), Date: "yesterday" })).toBe(30_000);
});

test("a date in the past, and what is neither number nor date, are no wait", () => {
  vi.spyOn(Date, "now").mockReturnValue(NOW);
  for (const value of [later(-5000), "soon", "-3", "1.5 days", ""]) expect(waitOf({ "Retry-After": value })).toBe(0);
  expect(waitOf({})).toBe(0);
});
