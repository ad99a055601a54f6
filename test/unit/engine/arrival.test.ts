import { expect, test } from "vitest";
import { arrival } from "../../../src/engine/arrival.ts";
import type { MatrixSource } from "../../../src/format/checkpoint.ts";
import type { Blueprint } from "../../../src/layers/blueprint.ts";

const FLOATS = { encoding: { kind: "plain", dtype: "bf16" }, columns: 4096 } as unknown as MatrixSource;
const dense = (rows: number): Blueprint => ({
  weights: [{ names: [], shape: [rows, 4096], role: "feedForward" }],
  caches: [],
  histories: [],
  ropes: [],
  experts: [],
});
const bitsOf = (blueprint: Blueprint) => arrival("auto-1", blueprint)(FLOATS, { role: "feedForward" });

test("the feed-forward layers of a dense model keep 8 bits unless its linears would have over 2 GB", () => {
  expect(bitsOf(dense(1000))).toMatchObject({ kind: "affine", bits: 8 });
  expect(bitsOf(dense(1_000_000))).toMatchObject({ kind: "affine", bits: 4 });
  const experts = [{}] as unknown as Blueprint["experts"];
  expect(bitsOf({ ...dense(1_000_000), experts })).toMatchObject({ bits: 8 });
});

test("what is published quantised stays as it is", () => {
  const encoding = { kind: "affine", bits: 4, group: 32, scales: "f16" } as const;
  const source = { ...FLOATS, encoding } as MatrixSource;
  expect(arrival("auto-1", dense(1))(source, { role: "embedding" })).toBe(encoding);
});
