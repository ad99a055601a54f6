import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Float, layMatrix } from "../../../src/base/matrix.ts";
import type { Role } from "../../../src/base/role.ts";
import { decodeFloats } from "../../../src/format/floats.ts";
import { decodeMatrix } from "../../../src/format/mlx_affine.ts";
import { quantizeRows } from "../../../src/format/quantize.ts";
import { encodingOnArrival } from "../../../src/format/recipe.ts";
import { fixtureTensors } from "./fixture.ts";

describe("quantising the story model gives the bytes of mlx's own quantiser", () => {
  const published = fixtureTensors("storyteller-moe/hf/model.safetensors");
  const mlx = fixtureTensors("storyteller-moe/mlx-4bit/model.safetensors");
  const LAYERS = 5;
  const EXPERTS = 8;

  /** Where expert e of a stack [E, ...] lies in a range. */
  const ofStack = (bytes: Uint8Array, e: number) =>
    bytes.subarray((bytes.length / EXPERTS) * e, (bytes.length / EXPERTS) * (e + 1));

  function compare(name: string, theirs: (part: "weight" | "scales" | "biases") => Uint8Array, role: Role) {
    const columns = published.entry(name).shape.at(-1)!;
    const encoding = encodingOnArrival("mlx-1", { role, columns, dtype: "bf16", frugal: false });
    expect(encoding).toEqual({ kind: "affine", bits: 4, group: 64, scales: "bf16" });
    const mine = quantizeRows(published.floats(name), columns, encoding!);
    for (const part of ["weight", "scales", "biases"] as const)
      expect(Buffer.compare(mine[part], theirs(part)), `${name}: ${part}`).toBe(0);
  }

  for (let layer = 0; layer < LAYERS; layer++)
    it(`layer ${layer}: ${EXPERTS} experts, the attention projections and the router`, () => {
      const prefix = `model.layers.${layer}`;
      for (const [part, stacked] of Object.entries({ w1: "gate_proj", w3: "up_proj", w2: "down_proj" }))
        for (let e = 0; e < EXPERTS; e++)
          compare(
            `${prefix}.block_sparse_moe.experts.${e}.${part}.weight`,
            (range) => ofStack(mlx.data(`${prefix}.block_sparse_moe.switch_mlp.${stacked}.${range}`), e),
            "expert",
          );
      for (const projection of ["q_proj", "k_proj", "v_proj", "o_proj"])
        compare(
          `${prefix}.self_attn.${projection}.weight`,
          (range) => mlx.data(`${prefix}.self_attn.${projection}.${range}`),
          "linear",
        );
      const router = `${prefix}.block_sparse_moe.gate`;
      compare(`${router}.weight`, (range) => mlx.data(`${router}.${range}`), "router");
    });

  it("the embedding too", () => {
    compare("model.embed_tokens.weight", (range) => mlx.data(`model.embed_tokens.${range}`), "embedding");
  });
});

describe("4 and 8 bits of every type and group are mlx's own bytes", () => {
  const { floats, data } = fixtureTensors("mlx_quantise/affine.safetensors");
  for (const bits of [4, 8] as const)
    for (const group of [32, 64] as const)
      for (const scales of ["f32", "bf16", "f16"] as const)
        it(`${bits} bits in groups of ${group}, ${scales}`, () => {
          const name = `${scales}.${bits}.${group}`;
          const mine = quantizeRows(floats(`${name}.values`), 128, { kind: "affine", bits, group, scales });
          for (const part of ["weight", "scales", "biases"] as const)
            expect(Buffer.compare(mine[part], data(`${name}.${part}`)), part).toBe(0);
        });
});

describe("quantizeRows", () => {
  const decode = (values: Float32Array, columns: number, group: 32 | 64, scales: Float, bits: 4 | 8 = 4) => {
    const encoding = { kind: "affine", bits, group, scales } as const;
    const ranges = quantizeRows(values, columns, encoding);
    const matrix = layMatrix(values.length / columns, columns, encoding);
    const bytes = new Uint8Array(matrix.end);
    for (const part of ["weight", "scales", "biases"] as const) bytes.set(ranges[part], matrix[part]);
    return { ranges, decoded: decodeMatrix(matrix, bytes) };
  };

  it("is within one fitted step of every value, and meets the larger end of a group exactly (f32 scales)", () => {
    const sizes = fc.record({ size: fc.constantFrom(32, 64), bits: fc.constantFrom(4, 8) });
    const row = fc.float32Array({ minLength: 128, maxLength: 128, noNaN: true, min: -8, max: 8 });
    fc.assert(
      fc.property(sizes, row, ({ size, bits }, values) => {
        const { decoded, ranges } = decode(values, 128, size, "f32", bits);
        const scales = decodeFloats("f32", ranges.scales);
        for (let g = 0; g < 128 / size; g++) {
          const part = values.subarray(g * size, (g + 1) * size);
          const max = Math.max(...part);
          const min = Math.min(...part);
          const edge = Math.abs(min) > Math.abs(max) ? min : max;
          // Fitting the scale to the edge moves the grid by up to half a step at its other end.
          const bound = Math.abs(scales[g]!) * 1.01 + 1e-6;
          for (let i = g * size; i < (g + 1) * size; i++)
            expect(Math.abs(decoded[i]! - values[i]!)).toBeLessThanOrEqual(bound);
          const met = decoded.subarray(g * size, (g + 1) * size).some((value) => Math.abs(value - edge) <= 1e-5);
          expect(met || Math.abs(edge) < 1e-5).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("gives constant groups, zeros included, back", () => {
    for (const value of [0, 5, -0.25, 1e-9]) {
      const { decoded } = decode(new Float32Array(64).fill(value), 64, 64, "f32");
      expect([...decoded].every((each) => Math.abs(each - value) <= 1e-9)).toBe(true);
    }
  });

  it("takes a group nearer to 0 than half the smallest scale for 0, as mlx does", () => {
    const { decoded } = decode(new Float32Array(64).fill(1e-9), 64, 64, "f32");
    expect([...decoded].every((each) => each === 0)).toBe(true);
  });

  it("takes rows one by one as all together", () => {
    const values = Float32Array.from({ length: 3 * 96 }, (_, i) => Math.sin(i * 1.7) * (1 + i / 40));
    const encoding = { kind: "affine", bits: 8, group: 32, scales: "f16" } as const;
    const all = quantizeRows(values, 96, encoding);
    const rows = [0, 1, 2].map((row) => quantizeRows(values.subarray(row * 96, (row + 1) * 96), 96, encoding));
    for (const part of ["weight", "scales", "biases"] as const)
      expect(Buffer.concat(rows.map((row) => row[part]))).toEqual(Buffer.from(all[part]));
  });
});
