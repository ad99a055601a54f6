import { expect, test } from "vitest";
import { parseRouteTrace } from "../../../cli/route_trace.ts";
import { Trace } from "../../../src/experts/trace.ts";

const HEAD = {
  model: "org/some-model",
  arch: "mixtral",
  layers: Array(2).fill({ experts: 4, top: 2 }),
  recordBytes: 96,
};

/** Two tokens of a prompt's second segment, then a generated one. */
function recorded(): Trace {
  const trace = new Trace(HEAD);
  trace.add({
    turn: 0,
    phase: 0,
    position: 5,
    segment: 1,
    chunk: 3,
    count: 2,
    taps: new Map<string, Uint32Array | Float32Array>([
      ["experts.0", Uint32Array.of(3, 1, 0, 2)],
      ["expert_weights.0", Float32Array.of(0.75, 0.25, 0.5, 0.5)],
      ["experts.1", Uint32Array.of(2, 0, 2, 3)],
      ["expert_weights.1", Float32Array.of(1, 0, 0.625, 0.375)],
    ]),
    passOf: (layer, expert) => (layer === 1 && expert === 3 ? 2 : 0),
    wasResident: (layer, expert) => layer === 0 || expert !== 3,
  });
  trace.add({
    turn: 1,
    phase: 1,
    position: 7,
    segment: 0,
    chunk: 0,
    count: 1,
    taps: new Map<string, Uint32Array | Float32Array>([
      ["experts.0", Uint32Array.of(1, 0)],
      ["expert_weights.0", Float32Array.of(0.9, 0.1)],
      ["experts.1", Uint32Array.of(0, 1)],
      ["expert_weights.1", Float32Array.of(0.6, 0.4)],
    ]),
    passOf: () => 1,
    wasResident: () => false,
  });
  return trace;
}

test("a trace is BigMoeOnEdge's CSV with segment, chunk and pass", () => {
  expect(recorded().csv()).toBe(
    [
      "# route_trace v1",
      "# model=org/some-model arch=mixtral n_layer=2 n_expert=4 n_expert_used=2",
      "# layer=0 expert_bytes=96",
      "# layer=1 expert_bytes=96",
      "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,segment,chunk,pass",
      "0,0,5,0,0,3,0.750000,1,96,1,3,0",
      "0,0,5,0,1,1,0.250000,1,96,1,3,0",
      "0,0,5,1,0,2,1.000000,1,96,1,3,0",
      "0,0,5,1,1,0,0.000000,1,96,1,3,0",
      "0,0,6,0,0,0,0.500000,1,96,1,3,0",
      "0,0,6,0,1,2,0.500000,1,96,1,3,0",
      "0,0,6,1,0,2,0.625000,1,96,1,3,0",
      "0,0,6,1,1,3,0.375000,0,96,1,3,2",
      "1,1,7,0,0,1,0.900000,0,96,0,0,1",
      "1,1,7,0,1,0,0.100000,0,96,0,0,1",
      "1,1,7,1,0,0,0.600000,0,96,0,0,1",
      "1,1,7,1,1,1,0.400000,0,96,0,0,1",
      "",
    ].join("\n"),
  );
});

test("what is written is read", () => {
  const { visits, ...shape } = parseRouteTrace(recorded().csv());
  expect(shape).toEqual({ model: "org/some-model", layers: 2, experts: 4, top: 2, recordBytes: [96, 96] });
  expect(visits).toHaveLength(6);
  expect(visits[3]).toEqual({
    turn: 0,
    decode: false,
    position: 6,
    layer: 1,
    experts: [2, 3],
    weights: [0.625, 0.375],
    segment: 1,
  });
  expect(visits[5]).toMatchObject({ turn: 1, decode: true, position: 7, experts: [0, 1], segment: null });
});
