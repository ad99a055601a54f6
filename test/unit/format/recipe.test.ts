import { expect, test } from "vitest";
import type { Role } from "../../../src/base/role.ts";
import { type Arriving, encodingOnArrival, isFrugal, type Recipe } from "../../../src/format/recipe.ts";

const ROLES: readonly Role[] = ["expert", "linear", "feedForward", "embedding", "head", "router", "norm"];

/** Bits that each role gets, in the order of {@link ROLES}; null: as published. */
const bits = (recipe: Recipe, given: Partial<Arriving> = {}) =>
  ROLES.map((role) => {
    const matrix: Arriving = { role, columns: 128, dtype: "bf16", frugal: false, ...given };
    return encodingOnArrival(recipe, matrix)?.bits ?? null;
  });

test.each([
  // expert, linear, feed-forward, embedding, head, router, norm
  ["auto-1", {}, [4, 8, 8, 8, 8, null, null]],
  ["auto-1", { frugal: true }, [4, 8, 4, 8, 8, null, null]],
  ["auto-1", { columns: 96 }, [4, 8, 8, 8, 8, null, null]],
  ["auto-1", { columns: 80 }, [null, null, null, null, null, null, null]],
  ["mlx-1", {}, [4, 4, 4, 4, 4, 4, null]],
  ["mlx-1", { columns: 96 }, [null, null, null, null, null, null, null]],
  ["mlx-1", { mlxBits: 8 }, [8, 8, 8, 8, 8, 8, null]],
  ["none", {}, [null, null, null, null, null, null, null]],
] as const)("%s, given %o", (recipe, given, wanted) => {
  expect(bits(recipe, given)).toEqual(wanted);
});

test("groups of 64, else of 32; scales in 16 bits by auto, as published by mlx", () => {
  const of = (recipe: Recipe, columns: number, dtype: Arriving["dtype"]) =>
    encodingOnArrival(recipe, { role: "linear", columns, dtype, frugal: false });
  expect(of("auto-1", 192, "bf16")).toMatchObject({ group: 64, scales: "bf16" });
  expect(of("auto-1", 96, "f16")).toMatchObject({ group: 32, scales: "f16" });
  expect(of("auto-1", 128, "f32")).toMatchObject({ group: 64, scales: "f16" });
  expect(of("mlx-1", 128, "f32")).toMatchObject({ group: 64, scales: "f32" });
  expect(of("auto-1", 259, "bf16")).toBeUndefined();
});

test("2 GB of linears at 8 bits is the limit; the embedding does not count", () => {
  // 8.5 bits a weight: 1,882,352,941 of them are 2 GB.
  const linears = (rows: number) => [{ role: "feedForward" as const, shape: [rows, 1024] as const }];
  expect(isFrugal(linears(1_838_234))).toBe(false);
  expect(isFrugal(linears(1_838_236))).toBe(true);
  expect(isFrugal([{ role: "embedding", shape: [2_000_000, 1024] }])).toBe(false);
});
