import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bf16ToF32,
  decodeFloats,
  encodeFloats,
  f16ToF32,
  f32ToBf16,
  f32ToF16,
  roundHalfEven,
} from "../../../src/format/floats.ts";

const float = () => fc.float({ noNaN: true, noDefaultInfinity: true });

/** The nearest of all finite `values` (ascending), ties to the even pattern; by looking at every neighbour. */
function nearest(x: number, toF32: (bits: number) => number, largest: number): number {
  let low = 0;
  let high = largest;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (toF32(middle) <= x) low = middle;
    else high = middle - 1;
  }
  if (low === largest) return low;
  const below = x - toF32(low);
  const above = toF32(low + 1) - x;
  return below < above || (below === above && low % 2 === 0) ? low : low + 1;
}

describe.each([
  ["bf16", bf16ToF32, f32ToBf16, 0x7f7f, 0x7f80],
  ["f16", f16ToF32, f32ToF16, 0x7bff, 0x7c00],
] as const)("%s", (dtype, toF32, fromF32, largest, infinity) => {
  it("gives back every one of its 65,536 patterns, NaN as a NaN", () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = toF32(bits);
      if (Number.isNaN(value)) expect(toF32(fromF32(value))).toBeNaN();
      else if (fromF32(value) !== bits) expect.fail(`pattern ${bits} came back as ${fromF32(value)}`);
    }
  });

  it("is the nearest to any f32, ties to even", () => {
    fc.assert(
      fc.property(float(), (x) => {
        const magnitude = Math.abs(x);
        fc.pre(magnitude <= toF32(largest));
        expect(fromF32(magnitude)).toBe(nearest(magnitude, toF32, largest));
        expect(fromF32(-magnitude)).toBe(0x8000 | fromF32(magnitude));
      }),
      { numRuns: 2000 },
    );
  });

  it("rounds halfway between neighbours to the even one, subnormals included", () => {
    for (let bits = 0; bits < largest; bits++) {
      const middle = (toF32(bits) + toF32(bits + 1)) / 2;
      if (Math.fround(middle) !== middle) continue; // below the f32 subnormals
      if (fromF32(middle) !== bits + (bits % 2)) expect.fail(`between ${bits} and ${bits + 1}: ${fromF32(middle)}`);
    }
  });

  it("overflows to infinity from half a step above its largest", () => {
    const step = toF32(largest) - toF32(largest - 1);
    expect(fromF32(toF32(largest) + step / 2)).toBe(infinity);
    expect(fromF32(toF32(largest) + step / 4)).toBe(largest);
    expect(fromF32(Number.NEGATIVE_INFINITY)).toBe(0x8000 | infinity);
    expect(toF32(infinity)).toBe(Number.POSITIVE_INFINITY);
  });

  it("decodes and encodes arrays at odd addresses as one by one", () => {
    const values = Float32Array.of(0, -0, 1, -2.5, 1e-6, Math.PI);
    const encoded = encodeFloats(dtype, values);
    const odd = new Uint8Array(encoded.length + 1);
    odd.set(encoded, 1);
    const decoded = decodeFloats(dtype, odd.subarray(1));
    expect([...decoded]).toEqual([...values].map((value) => toF32(fromF32(value))));
    expect(decoded).toEqual(decodeFloats(dtype, encoded));
  });
});

it("known patterns: f16 1/3 is 0x3555, its smallest subnormal 2^-24; bf16 pi is 0x4049", () => {
  expect(f32ToF16(1 / 3)).toBe(0x3555);
  expect(f16ToF32(1)).toBe(2 ** -24);
  expect(f16ToF32(0xfbff)).toBe(-65504);
  expect(f32ToBf16(Math.PI)).toBe(0x4049);
  expect(bf16ToF32(0xbd30)).toBe(-0.04296875);
});

it("f32 arrays come back as they are, from odd addresses too", () => {
  const values = Float32Array.of(1.1, -2.2);
  const odd = new Uint8Array(9);
  odd.set(encodeFloats("f32", values), 1);
  expect(decodeFloats("f32", odd.subarray(1))).toEqual(values);
});

it("roundHalfEven sends ties to even, unlike Math.round", () => {
  expect([0.5, 1.5, 2.5, -0.5, -1.5, 14.5, 14.500001, 5e7].map(roundHalfEven)).toEqual([0, 2, 2, 0, -2, 14, 15, 5e7]);
});
