import { describe, expect, it } from "vitest";
import { layExpert, layMatrix, MXFP4 } from "../../../src/base/matrix.ts";
import { openCheckpoint } from "../../../src/format/checkpoint.ts";
import { bf16ToF32, encodeFloats } from "../../../src/format/floats.ts";
import { decodeMatrix } from "../../../src/format/mlx_affine.ts";
import { plain } from "../../support/op_table.ts";
import { fixtureJson, fixtureTensors } from "./fixture.ts";

const CASES = [
  "mixtral_q4g64",
  "mixtral_q4g32",
  "mixtral_q4g128",
  "mixtral_q4g64_sharded",
  "mixtral_q4_embed8",
  "mixtral_q4_legacy",
  "olmoe_mixed_2_6",
  "mixtral_mixed_3_6",
  "qwen3_moe_q5g32",
  "gpt_oss_mxfp4_q4",
];

describe("decodeMatrix gives mlx's numbers bit for bit", () => {
  for (const name of CASES)
    it(name, () => {
      const folder = `mlx/${name}`;
      const golden = fixtureTensors(`${folder}/golden.safetensors`);
      const index = fixtureJson(`${folder}/model.safetensors.index.json`) as { weight_map: Record<string, string> };
      const files = new Map(
        [...new Set(Object.values(index.weight_map))].map((file) => [file, fixtureTensors(`${folder}/${file}`)]),
      );
      const shards = new Map([...files].map(([file, { tensors }]) => [file, tensors]));
      const checkpoint = openCheckpoint(fixtureJson(`${folder}/config.json`), shards);
      const dequantised = [...golden.tensors].filter(([tensor]) => tensor.startsWith("dequant."));
      expect(dequantised.length).toBeGreaterThanOrEqual(3);
      for (const [tensor, { shape }] of dequantised) {
        const [, module, stack] = /^dequant\.(.+?)(?:\.weight)?(?:\[(\d+)\])?$/.exec(tensor)!;
        const [rows, columns] = shape as [number, number];
        const source = checkpoint.find(
          [{ module: module!.replace(/\.weight$/, ""), ...(stack === undefined ? {} : { stack: Number(stack) }) }],
          rows,
          columns,
        );
        const matrix = layMatrix(rows, columns, source.encoding);
        const record = new Uint8Array(matrix.end + 1).subarray(1); // at an odd address
        for (const part of ["weight", "scales", "biases"] as const) {
          const range = source[part];
          if (!range) continue;
          record.set(files.get(range.file)!.bytes.subarray(range.begin, range.end), matrix[part]);
        }
        expect(bitsOf(decodeMatrix(matrix, record)), tensor).toEqual(bitsOf(golden.floats(tensor)));
      }
    });
});

describe("decodeMatrix by hand", () => {
  it("takes the lowest nibble first: the example of the layout's description", () => {
    const matrix = layMatrix(1, 32, { kind: "affine", bits: 4, group: 32, scales: "bf16" });
    const bytes = new Uint8Array(matrix.end);
    const view = new DataView(bytes.buffer);
    view.setUint32(matrix.weight, 0x32337c64, true);
    view.setUint16(matrix.scales, 0xbd30, true);
    view.setUint16(matrix.biases, 0x3eb0, true);
    const wanted = [0.171875, 0.0859375, -0.171875, 0.04296875, 0.21484375, 0.21484375, 0.2578125, 0.21484375];
    expect([...decodeMatrix(matrix, bytes).subarray(0, 8)]).toEqual(wanted);
  });

  it("takes each row's and group's own scale and bias, at 8 bits and with f32 scales", () => {
    const matrix = layMatrix(2, 64, { kind: "affine", bits: 8, group: 32, scales: "f32" });
    const bytes = new Uint8Array(matrix.end);
    for (let i = 0; i < 128; i++) bytes[matrix.weight + i] = 255 - i;
    bytes.set(encodeFloats("f32", Float32Array.of(1, 0.5, -2, 0.1)), matrix.scales);
    bytes.set(encodeFloats("f32", Float32Array.of(0, 10, -1, 0.3)), matrix.biases);
    const values = decodeMatrix(matrix, bytes);
    expect(values[0]).toBe(255);
    expect(values[32]).toBe(0.5 * 223 + 10);
    expect(values[64 + 31]).toBe(-2 * (255 - 95) - 1);
    expect(values[127]).toBe(Math.fround(Math.fround(0.1) * 128 + Math.fround(0.3)));
  });

  it("reads integers that begin in one word and end in the next: the examples of the layout's description", () => {
    for (const [bits, words, scale, bias, wanted] of [
      [2, [0xdeb9ee7f], 0x3e15, 0xbe95, [3, 3, 3, 1, 2, 3, 2, 3, 1, 2, 3, 2, 2, 3, 1, 3]],
      [3, [0x34b7db6d, 0x8d65bb49], 0xbe05, 0x3f26, [5, 5, 5, 5, 5, 7, 5, 5, 4, 6, 4, 4, 4, 6, 6, 5]],
      [5, [0x1f79d603, 0x67d9306d], 0x3ca6, 0xbeb0, [3, 16, 21, 19, 23, 15, 20, 13]],
      [6, [0xdc091412, 0x372c7685], 0x3c8c, 0xbf0c, [18, 16, 17, 2, 28, 23, 40, 29]],
    ] as const) {
      const matrix = layMatrix(1, 32, { kind: "affine", bits, group: 32, scales: "bf16" });
      const bytes = new Uint8Array(matrix.end);
      const view = new DataView(bytes.buffer);
      for (const [i, word] of words.entries()) view.setUint32(matrix.weight + 4 * i, word, true);
      view.setUint16(matrix.scales, scale, true);
      view.setUint16(matrix.biases, bias, true);
      const [s, b] = [bf16ToF32(scale), bf16ToF32(bias)];
      expect([...decodeMatrix(matrix, bytes).subarray(0, wanted.length)]).toEqual(
        wanted.map((q) => Math.fround(s * q + b)),
      );
    }
  });

  it("takes fp4 times a power of two, from the least to infinity", () => {
    const matrix = layMatrix(1, 96, MXFP4);
    const bytes = new Uint8Array(matrix.end);
    new DataView(bytes.buffer).setUint32(matrix.weight, 0xed0ac009, true);
    bytes[matrix.scales] = 124;
    for (const [i, byte] of [0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe].entries())
      bytes[matrix.weight + 16 + i] = byte;
    bytes[matrix.scales + 1] = 0;
    bytes[matrix.weight + 32] = 0x2;
    bytes[matrix.scales + 2] = 255;
    const values = decodeMatrix(matrix, bytes);
    expect([...values.subarray(0, 8)]).toEqual([-0.0625, 0, 0, -0.25, -0.125, 0, -0.375, -0.5]);
    const magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
    const table = [...magnitudes, ...magnitudes.map((value) => -value)];
    expect([...values.subarray(32, 48)]).toEqual(table.map((value) => Math.fround(value * 2 ** -127)));
    expect(values[64]).toBe(Number.POSITIVE_INFINITY);
  });

  it.each([plain("f16"), MXFP4, { kind: "affine", bits: 3, group: 16, scales: "bf16" }] as const)(
    "takes every second row of %o from ranges that two matrices share",
    (encoding) => {
      const both = layMatrix(10, 64, encoding);
      const bytes = Uint8Array.from({ length: both.end }, (_, i) => (i * 73) % 61);
      const all = decodeMatrix(both, bytes);
      const { w1, w3 } = layExpert(64, 5, encoding, encoding, plain("f32"), { alternate: true });
      for (const [first, matrix] of [w1, w3].entries()) {
        expect(matrix).toEqual({ ...both, rows: 5, stride: 2, first });
        const rows = [0, 1, 2, 3, 4].map((row) => all.subarray((2 * row + first) * 64, (2 * row + first + 1) * 64));
        expect([...decodeMatrix(matrix, bytes)]).toEqual(rows.flatMap((row) => [...row]));
      }
    },
  );

  it("widens plain floats from where the matrix lies", () => {
    const matrix = layMatrix(3, 5, { kind: "plain", dtype: "f16" }, 32);
    const values = Float32Array.from({ length: 15 }, (_, i) => i / 8 - 1);
    const bytes = new Uint8Array(matrix.end);
    bytes.set(encodeFloats("f16", values), matrix.weight);
    expect(decodeMatrix(matrix, bytes)).toEqual(values);
  });
});

const bitsOf = (values: Float32Array) =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("hex");
