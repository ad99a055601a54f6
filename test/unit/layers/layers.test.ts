import { expect, test } from "vitest";
import type { Builder, Layer, WeightSpec } from "../../../src/layers/builder.ts";
import { bias, biased, chain, linear, scaled, sum, vector } from "../../../src/layers/linear.ts";
import { besides, GELU, gated, gatedUnder, sharedExpert, swiglu, weighed } from "../../../src/layers/mixture.ts";
import { layerNorm, rmsNorm, rmsNormPlusOne } from "../../../src/layers/norm.ts";
import { rotation } from "../../../src/layers/rotation.ts";
import { shortConvolution } from "../../../src/layers/short_convolution.ts";
import type { Ops, Tensor } from "../../../src/ops/ops.ts";

/** What a layer says of x, as a formula, and the weights that it asked for. */
function said(make: (m: Builder) => Layer): { readonly formula: string; readonly weights: readonly WeightSpec[] } {
  const weights: WeightSpec[] = [];
  const nameOf = ({ names: [first] }: WeightSpec) => `${first!.module}${first!.firstRow ?? ""}`;
  const m = {
    has: () => true,
    weight: (spec: WeightSpec) => {
      weights.push(spec);
      return nameOf(spec);
    },
    rope: (frequencies: Float32Array, scale: number) => `table(${frequencies.join()}; ${scale})`,
    history: ({ width, window }: { width: number; window: number }) => `history(${width}, ${window})`,
  } as unknown as Builder;
  const show = (value: unknown): string =>
    typeof value === "object"
      ? Object.values(value as object)
          .map(show)
          .join(" ")
      : String(value);
  const ops = new Proxy({} as Ops, {
    get:
      (_, verb) =>
      (...args: unknown[]) =>
        `${String(verb)}(${args.map(show).join(", ")})`,
  });
  const formula = make(m)(ops, "x" as unknown as Tensor) as unknown as string;
  return { formula, weights };
}

test("products, biases, sums and factors", () => {
  expect(said((m) => biased(linear)(m, "q", [6, 4])).formula).toBe("addRow(linear(x, q), q.bias)");
  expect(said((m) => chain(linear(m, "a", [4, 4]), bias(m, "b", 4), scaled(0.5))).formula).toBe(
    "scale(addRow(linear(x, a), b.bias), 0.5)",
  );
  expect(said((m) => sum(linear(m, "a", [4, 4]), linear(m, "b", [4, 4]))).formula).toBe(
    "add(linear(x, a), linear(x, b))",
  );
  const { weights } = said((m) => biased(linear)(m, ["q", "query"], [6, 4]));
  expect(weights).toEqual([
    { names: [{ module: "q" }, { module: "query" }], shape: [6, 4], role: "linear" },
    { names: [{ module: "q.bias" }, { module: "query.bias" }], shape: [1, 6], role: "norm" },
  ]);
});

test("norms: over runs of their width, of 1 + weight, with a bias", () => {
  expect(said((m) => rmsNorm(m, "n", 4, 1e-6)).formula).toBe("rmsNorm(x, n, 0.000001)");
  expect(said((m) => layerNorm(m, "n", 4, 0.5)).formula).toBe("layerNorm(x, n, n.bias, 0.5)");
  expect(said((m) => rmsNormPlusOne(m, "n", 4, 0.5)).weights).toMatchObject([{ plus: 1, role: "norm" }]);
  expect(said((m) => rmsNorm(m, "n", 4, 0.5)).weights[0]).not.toHaveProperty("plus");
});

test("feed-forward layers: dense, shared, behind a gate, beside others", () => {
  const glu = (kind: string) => `linear(gate(linear(x, p.gate_proj), linear(x, p.up_proj), ${kind}), p.down_proj)`;
  expect(said((m) => swiglu(m, "p", [6, 4])).formula).toBe(glu("silu"));
  expect(said((m) => gated(m, gatedUnder("p"), [6, 4], linear, GELU)).formula).toBe(glu("gelu"));
  const roles = (layer: (m: Builder) => Layer) => new Set(said(layer).weights.map(({ role }) => role));
  expect(roles((m) => swiglu(m, "p", [6, 4]))).toEqual(new Set(["feedForward"]));
  expect(roles((m) => sharedExpert(m, "p", [6, 4]))).toEqual(new Set(["linear"]));
  const shapes = said((m) => swiglu(m, "p", [6, 4])).weights.map(({ shape }) => shape);
  expect(shapes).toEqual([
    [6, 4],
    [6, 4],
    [4, 6],
  ]);
  expect(said((m) => weighed(linear(m, "g", [1, 4]), linear(m, "f", [4, 4]))).formula).toBe(
    "gate(linear(x, g), linear(x, f), sigmoid)",
  );
  const guess = () => {};
  const both = besides({ feedForward: (_, x) => x, guess }, scaled(2));
  expect(both.guess).toBe(guess);
  expect(said(() => both.feedForward).formula).toBe("add(x, scale(x, 2))");
});

test("a rotation turns pairs of a head by a table of its own", () => {
  const rope = { frequencies: Float32Array.of(1, 0.5), scale: 1.25 };
  expect(said((m) => rotation(m, rope, 8, "adjacent")).formula).toBe("rope(x, table(1,0.5; 1.25), 8 adjacent)");
});

test("a short convolution: the last tokens of B * u, weighed by C", () => {
  const { formula, weights } = said((m) => shortConvolution(m, "c", 4, 3));
  const part = (row: number) => `linear(x, c.in_proj${row})`;
  expect(formula).toBe(
    `linear(gate(${part(4)}, convolve(gate(${part(0)}, ${part(8)}, identity), c.conv, history(4, 3)), identity), c.out_proj)`,
  );
  expect(weights.find(({ names }) => names[0]!.module === "c.conv")).toMatchObject({ shape: [4, 3], role: "norm" });
});

test("a vector is one row in f32, under one name or another", () => {
  expect(
    said((m) => {
      vector(m, ["a", "b"], 5);
      return (_, x) => x;
    }).weights,
  ).toEqual([{ names: [{ module: "a" }, { module: "b" }], shape: [1, 5], role: "norm" }]);
});
