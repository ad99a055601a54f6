/** That a golden's every tensor is compared, or fails: on a small model whose golden is changed. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Line } from "../../../cli/check/comparison.ts";
import { checkModel } from "../../../cli/check/model_golden.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { givenFiles } from "../../../src/source/given_files.ts";
import { gathered } from "../../support/gathered.ts";

type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;

const folder = join(import.meta.dirname, "../../fixtures/hf/mixtral_odd");
const files = Object.fromEntries(
  readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]),
);
const json = JSON.parse(new TextDecoder().decode(files["golden.json"]));
const { header, data } = parse(files["golden.safetensors"]!);

function parse(file: Uint8Array): { header: Header; data: Uint8Array } {
  const end = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  return { header: JSON.parse(new TextDecoder().decode(file.subarray(8, end))), data: file.subarray(end) };
}

function safetensors(header: Header, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const file = new Uint8Array(8 + text.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  file.set(data, 8 + text.length);
  return file;
}

/** The lines of the folder's golden with other entries in its header, and `more` bytes of data. */
async function linesWith(entries: Header, more = new Uint8Array(), prompt = json.prompt_ids): Promise<Line[]> {
  const golden = { ...json, prompt_ids: prompt, greedy_ids: json.greedy_ids.slice(0, 2) };
  const source = givenFiles({
    ...files,
    "golden.json": new TextEncoder().encode(JSON.stringify(golden)),
    "golden.safetensors": safetensors({ ...header, ...entries }, new Uint8Array([...data, ...more])),
  });
  const speaker = cpuSpeaker();
  const lines = await gathered(checkModel(speaker, source, { thorough: false }));
  speaker.close();
  return lines;
}

const failed = (lines: readonly Line[]) => lines.filter(({ ok }) => !ok);
/** Bytes after those of the golden. */
const appended = (bytes: number): [number, number] => [data.length, data.length + bytes];

test("a golden's every tensor has a line, and holds", async () => {
  const lines = await linesWith({});
  expect(failed(lines)).toEqual([]);
  const names = Object.keys(header).filter((name) => name !== "__metadata__");
  const beside = ["greedy ids", ...("rope_scale" in json ? ["rope_scale"] : [])];
  expect(lines.map(({ quantity }) => quantity).sort()).toEqual([...names, ...beside].sort());
});

test.each(["conv_state.0", "rope_angles", "dequant.model.norm", "hidden.0.1", "Logits"])(
  "a tensor %s, which nothing compares, fails",
  async (name) => {
    const lines = await linesWith(
      { [name]: { dtype: "F32", shape: [1], data_offsets: appended(4) } },
      new Uint8Array(4),
    );
    expect(failed(lines)).toEqual([
      { quantity: name, ok: false, text: "is not compared: no comparison is known for this name" },
    ]);
  },
);

test("a tensor that is neither F32 nor I32 fails, also under a known name", async () => {
  const { data_offsets } = header.rope_inv_freq!;
  const lines = await linesWith({ rope_inv_freq: { dtype: "F16", shape: [32], data_offsets } });
  expect(failed(lines)).toEqual([
    { quantity: "rope_inv_freq", ok: false, text: "is not compared: it is F16, neither F32 nor I32" },
  ]);
});

test("a tensor of no numbers fails", async () => {
  const lines = await linesWith({ routing: { dtype: "I32", shape: [0, 27, 1], data_offsets: appended(0) } });
  expect(failed(lines)).toEqual([{ quantity: "routing", ok: false, text: "is not compared: it is empty" }]);
});

test.each([
  ["hidden.9", "F32", "0 numbers where 2 are due"],
  ["experts.9", "I32", "first difference at [0, 0]: undefined for 0"],
])("a tensor %s, which the model does not tap, fails", async (name, dtype, text) => {
  const lines = await linesWith({ [name]: { dtype, shape: [1, 2], data_offsets: appended(8) } }, new Uint8Array(8));
  expect(failed(lines)).toEqual([{ quantity: name, ok: false, text }]);
});

test("input_ids other than golden.json's prompt_ids fail", async () => {
  const prompt = [...json.prompt_ids.slice(0, -1), (json.prompt_ids.at(-1) + 1) % 259];
  const lines = await linesWith({}, new Uint8Array(), prompt);
  expect(failed(lines).map(({ quantity }) => quantity)).toContain("input_ids");
});

test("a golden without logits fails", async () => {
  const { logits, ...others } = header;
  const renamed = { ...others, "hidden.9": logits! };
  const source = givenFiles({ ...files, "golden.safetensors": safetensors(renamed, data) });
  const speaker = cpuSpeaker();
  const lines = await gathered(checkModel(speaker, source));
  expect(failed(lines).map(({ quantity }) => quantity)).toEqual(["hidden.9", "logits as generated"]);
  speaker.close();
});
