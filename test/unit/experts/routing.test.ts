import { describe, expect, test } from "vitest";
import { parseRouteTrace } from "../../../cli/route_trace.ts";
import { analyseRouting } from "../../../cli/routing.ts";

/** One layer of 4 experts; each token's first and second choice, with weights 0.75 and 0.25. */
const trace = (tokens: readonly (readonly [number, number])[], turn = () => 0) =>
  parseRouteTrace(
    [
      "# model=m n_layer=1 n_expert=4 n_expert_used=2",
      "turn,phase,step,layer,slot,expert,weight",
      ...tokens.flatMap(([first, second], step) => [
        `${turn()},1,${step},0,0,${first},0.75`,
        `${turn()},1,${step},0,1,${second},0.25`,
      ]),
    ].join("\n"),
  );

test("shares, repetition, load balance and dropped tokens, worked by hand", () => {
  const routing = analyseRouting(
    trace([
      [0, 1],
      [0, 2],
      [1, 0],
      [3, 2],
    ]),
  );
  const [layer] = routing.layers;
  expect(layer!.shares).toEqual([3 / 8, 2 / 8, 2 / 8, 1 / 8]);
  expect(layer!.firstRepeats).toBeCloseTo(1 / 3, 12);
  expect(layer!.eitherRepeats).toBeCloseTo(2 / 3, 12);
  // f = 2/4, 1/4, 0, 1/4; P = (0.75 + 0.75 + 0.25, 0.25 + 0.75, 0.5, 0.75) / 4
  expect(layer!.loadBalance).toBeCloseTo((4 * (2 * 1.75 + 1 * 1 + 1 * 0.75)) / 16, 6);
  // Capacities ceil(1 * 8 / 4) = 2, ceil(2.5) = 3, 4: expert 0 has 3.
  expect(layer!.dropped).toEqual([1 / 8, 0, 0]);
  expect(routing.randomFirst).toBe(1 / 4);
  expect(routing.randomEither).toBeCloseTo(1 - 1 / 6, 12);
});

test("chance for 8 experts is the Mixtral paper's: 12.5 % and 46 %", () => {
  const { randomFirst, randomEither } = analyseRouting({ ...trace([[0, 1]]), experts: 8 });
  expect(randomFirst).toBe(0.125);
  expect(randomEither).toBeCloseTo(0.464, 3);
});

test("tokens of different turns do not follow each other", () => {
  let turn = 0;
  const routing = analyseRouting(trace(Array(4).fill([0, 1]), () => Math.floor(turn++ / 4)));
  expect(routing.layers[0]!.firstRepeats).toBe(1);
  const [layer] = analyseRouting(parseRouteTrace("turn,phase,step,layer,slot,expert\n0,1,0,0,0,1\n1,1,1,0,0,1")).layers;
  expect(layer!.firstRepeats).toBe(0);
  expect(layer!.loadBalance, "without weights").toBeNull();
});

describe("what is no trace is refused with the line and the next step:", () => {
  test.each([
    ["", /line 1, is no route trace/],
    ["a,b,c", /line 1, has no column phase, step, layer, slot, expert/],
    ["phase,step,layer,slot,expert", /has no routes/],
    ["\u001f\u008b\n\n", /line 1, has no column/],
    ["phase,step,layer,slot,expert\n1,0,0,0", /line 2, has 4 cells and 5 columns/],
    ["phase,step,layer,slot,expert\n1,0,0,0,x", /line 2, has "x" as expert/],
    ["phase,step,layer,slot,expert\n1,0,0,1,3", /line 2, has rank 1 where 0 follows/],
    ["phase,step,layer,slot,expert\n1,0,0,0,3\n1,0,0,0,4", /line 3, has rank 0 where 1 follows/],
    ["phase,step,layer,slot,expert\n1,0,0.5,0,3", /line 2, has "0.5" as layer/],
    ["phase,step,layer,slot,expert\n1,0,-1,0,3", /line 2, has "-1" as layer/],
    ["phase,step,layer,slot,expert\n1,0,1e9,0,3", /line 2, has "1e9" as layer/],
    ["phase,step,layer,slot,expert\n1,0,99999,0,3", /line 2, has layer 99999 and expert 3/],
    ["phase,step,layer,slot,expert\n1,0,0,0,3\n2,0,0,0,3", /line 3, has 2 as phase/],
    ["phase,step,layer,slot,expert\n1,0,0,0,3\n1,0,0,1,3", /line 3, has expert 3 a second time/],
    ["phase,step,layer,slot,expert,weight\n1,0,0,0,3,", /line 2, has "" as weight/],
    ["# n_expert=2\nphase,step,layer,slot,expert\n1,0,0,0,5", /says n_expert=2, and the routes have 6/],
    ["# n_layer=99999\nphase,step,layer,slot,expert\n1,0,0,0,5", /says n_layer=99999, and the routes have 1/],
    [
      "# n_expert_used=1\nphase,step,layer,slot,expert\n1,0,0,0,5\n1,0,0,1,6",
      /says n_expert_used=1, and the routes have 2/,
    ],
    ["# layer=0 dense_bytes=4\nphase,step,layer,slot,expert\n1,0,0,0,5", /line 1, has "" as expert_bytes/],
  ])("%j", (text, message) => {
    expect(() => parseRouteTrace(text, "t.csv")).toThrow(expect.objectContaining({ code: "bad-request" }));
    expect(() => parseRouteTrace(text, "t.csv")).toThrow(message);
    expect(() => parseRouteTrace(text, "t.csv")).toThrow(/engine\.trace\(\)/);
  });
});
