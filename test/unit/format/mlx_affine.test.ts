import { describe, expect, it } from "vitest";
import { layMatrix } from "../../../src/base/matrix.ts";
import { openCheckpoint } from "../../../src/format/checkpoint.ts";
import { encodeFloats } from "../../../src/format/floats.ts";
import { decodeMatrix } from "../../../src/format/mlx_affine.ts";
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
