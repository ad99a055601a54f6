/**
 * gpt-oss as OpenAI publishes it, made of MLX's copy of a small one: rows of gate and up in turn in
 * one tensor, blocks of MXFP4, biases in turn. It must compute the same bits.
 */
import { expect, test } from "vitest";
import { loadModel } from "../../../src/engine/load.ts";
import { Session } from "../../../src/engine/session.ts";
import type { Dtype } from "../../../src/format/safetensors.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { givenFiles } from "../../../src/source/given_files.ts";
import { fixture, fixtureTensors } from "../format/fixture.ts";

const FOLDER = "mlx/gpt_oss_mxfp4_q4";
const GREEDY = { temperature: 0, topK: 0, topP: 1, seed: 0 };
const PROMPT = [5, 200, 17, 33, 4, 91, 120, 7, 64, 250, 11];

interface Tensor {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

function safetensorsOf(tensors: ReadonlyMap<string, Tensor>): Uint8Array<ArrayBuffer> {
  let at = 0;
  const header: Record<string, object> = {};
  for (const [name, { dtype, shape, data }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.length] };
    at += data.length;
  }
  const head = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + head.length + at);
  new DataView(file.buffer).setBigUint64(0, BigInt(head.length), true);
  file.set(head, 8);
  at = 8 + head.length;
  for (const { data } of tensors.values()) {
    file.set(data, at);
    at += data.length;
  }
  return file;
}

/** Rows of two tensors [E, F, ...] in turn: [E, 2F, ...]. */
function inTurn(gate: Tensor, up: Tensor): Tensor {
  const [experts, rows, ...rest] = gate.shape as [number, number, ...number[]];
  const rowBytes = gate.data.length / (experts * rows);
  const data = new Uint8Array(2 * gate.data.length);
  for (let row = 0; row < experts * rows; row++)
    for (const [index, { data: from }] of [gate, up].entries())
      data.set(from.subarray(row * rowBytes, (row + 1) * rowBytes), (2 * row + index) * rowBytes);
  return { dtype: gate.dtype, shape: [experts, 2 * rows, ...rest], data };
}

/** Words of 4-bit numbers as blocks of 16 bytes. */
function blocks({ shape, data }: Tensor): Tensor {
  return { dtype: "U8", shape: [...shape.slice(0, -1), shape.at(-1)! / 4, 16], data };
}

/** The tensors under the names and in the shapes in which OpenAI publishes experts. */
function asPublished(mlx: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const tensors = new Map(mlx);
  const take = (name: string): Tensor => {
    const tensor = tensors.get(name)!;
    tensors.delete(name);
    return tensor;
  };
  for (const layer of [0, 1]) {
    const p = `model.layers.${layer}.mlp.experts`;
    const both = (part: string) => inTurn(take(`${p}.gate_proj.${part}`), take(`${p}.up_proj.${part}`));
    tensors.set(`${p}.gate_up_proj_blocks`, blocks(both("weight")));
    tensors.set(`${p}.gate_up_proj_scales`, both("scales"));
    tensors.set(`${p}.gate_up_proj_bias`, both("bias"));
    tensors.set(`${p}.down_proj_blocks`, blocks(take(`${p}.down_proj.weight`)));
    tensors.set(`${p}.down_proj_scales`, take(`${p}.down_proj.scales`));
    tensors.set(`${p}.down_proj_bias`, take(`${p}.down_proj.bias`));
  }
  return tensors;
}

async function logitsOf(tensors: ReadonlyMap<string, Tensor>) {
  const files = { "config.json": fixture(`${FOLDER}/config.json`), "model.safetensors": safetensorsOf(tensors) };
  const speaker = cpuSpeaker();
  const loaded = await loadModel(speaker, givenFiles(files), null, { contextLength: 64, slots: 3 });
  const logits: number[] = [];
  const session = new Session(speaker, loaded, { taps: "all", onTaps: (taps) => logits.push(...taps.get("logits")!) });
  await session.prefill(PROMPT, GREEDY);
  return { logits, layout: loaded.library!.layout(0) };
}

test("gpt-oss as published computes what MLX's copy computes, to the bit", async () => {
  const { tensors, data } = fixtureTensors(`${FOLDER}/model.safetensors`);
  const mlx = new Map([...tensors].map(([name, { dtype, shape }]) => [name, { dtype, shape, data: data(name) }]));
  const expected = await logitsOf(mlx);
  const actual = await logitsOf(asPublished(mlx));
  expect(actual.logits).toHaveLength(PROMPT.length * 261);
  expect(actual.logits).toEqual(expected.logits);
  const { w1, w3, biases } = actual.layout;
  expect([w1.stride, w1.first, w3.stride, w3.first]).toEqual([2, 0, 2, 1]);
  expect(w3.weight).toBe(w1.weight);
  expect(biases!.b3.weight).toBe(biases!.b1.weight);
  expect(expected.layout.w3.weight).toBeGreaterThan(0);
});
