import { expect, test } from "vitest";
import { type Blueprint, buildLoaded, buildOnPaper, type Parts, weightKey } from "../../../src/layers/blueprint.ts";
import type { Builder, Speech, WeightSpec } from "../../../src/layers/builder.ts";
import type { Cache, History, MoeLayer, Weight } from "../../../src/ops/ops.ts";

const has = () => true;
const silent: Speech = () => {};
const spec = (module: string): WeightSpec => ({ names: [{ module }], shape: [2, 3], role: "linear" });
const build = (m: Builder): Speech => {
  const [first, second] = [m.weight(spec("a")), m.weight(spec("b"))];
  m.cache({ width: 8, window: null });
  m.history({ width: 6, window: 3 });
  m.rope(Float32Array.of(1, 0.5), 1.5);
  return (ops) => {
    ops.linear(ops.embed(second), first);
  };
};

/** Parts that are known by their place alone. */
const parts = ({ weights, caches, ropes, histories, experts }: Blueprint): Parts => ({
  weights: weights.map((each) => ({ key: weightKey(each) }) as unknown as Weight),
  caches: caches.map(() => ({}) as Cache),
  ropes: ropes.map(() => ({}) as Weight),
  histories: histories.map(() => ({}) as History),
  experts: experts.map(() => ({}) as MoeLayer),
});

test("on paper a model says what it needs, in order; loaded it has just that", () => {
  const blueprint = buildOnPaper(build, has);
  expect(blueprint.weights.map(weightKey)).toEqual(["a", "b"]);
  expect(blueprint.caches).toEqual([{ width: 8, window: null }]);
  expect(blueprint.histories).toEqual([{ width: 6, window: 3 }]);
  expect(blueprint.ropes).toEqual([{ frequencies: Float32Array.of(1, 0.5), scale: 1.5 }]);
  const said: unknown[] = [];
  const say = buildLoaded(build, has, blueprint, parts(blueprint));
  say({ embed: (w: unknown) => said.push(w), linear: (_: unknown, w: unknown) => said.push(w) } as never);
  expect(said).toEqual([{ key: "b" }, { key: "a" }]);
});

test("nobody looks inside a part on paper", () => {
  expect(() =>
    buildOnPaper((m) => {
      m.weight(spec("a")).matrix;
      return silent;
    }, has),
  ).toThrow("matrix");
});

test("a weight is declared once, whatever names it goes by besides", () => {
  const twice = (m: Builder): Speech => {
    m.weight(spec("a"));
    m.weight({ ...spec("a"), role: "router" });
    return silent;
  };
  expect(() => buildOnPaper(twice, has)).toThrow("declared once");
  const stack = [0, 1].map((at) => ({ ...spec("a"), names: [{ module: "a", stack: at }] }));
  const stacked = (m: Builder): Speech => {
    for (const each of stack) m.weight(each);
    return silent;
  };
  expect(buildOnPaper(stacked, has).weights.map(weightKey)).toEqual(["a[0]", "a[1]"]);
});

test("a model that asks for something else the second time is found out", () => {
  const blueprint = buildOnPaper(build, has);
  const other: readonly ((m: Builder) => Speech)[] = [
    (m) => {
      m.weight(spec("b"));
      return silent;
    },
    (m) => {
      m.weight(spec("a"));
      return silent;
    },
    (m) => {
      build(m);
      m.weight(spec("c"));
      return silent;
    },
  ];
  for (const each of other)
    expect(() => buildLoaded(each, has, blueprint, parts(blueprint))).toThrow("mixtab is wrong");
});
