/**
 * Converts floats between the types that files hold and f32. Files are little-endian, as is every
 * machine that runs a browser.
 */
import { assert } from "../base/assert.ts";
import { FLOAT_BYTES, type Float } from "../base/matrix.ts";

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/** The number whose bfloat16 bits are `bits`; exact. */
export function bf16ToF32(bits: number): number {
  scratchBits[0] = bits << 16;
  return scratch[0]!;
}

/** The bits of the bfloat16 nearest to an f32, ties to even. */
export function f32ToBf16(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0]!;
  // The added bit keeps it a NaN if the payload was in the lower half only.
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** The number whose IEEE 754 binary16 bits are `bits`; exact, subnormals included. */
export function f16ToF32(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * The bits of the IEEE 754 binary16 nearest to an f32, ties to even; infinity from 65520 upwards.
 */
export function f32ToF16(value: number): number {
  scratch[0] = value;
  const bits = scratchBits[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00; // from 65536 on always infinity
  if (magnitude < 0x38800000) return sign | roundHalfEven(Math.abs(scratch[0]!) * 2 ** 24); // below 2^-14
  const rebiased = magnitude - 0x38000000;
  return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
}

/**
 * 1.5 * 2^52. A double of this size has no fraction, so IEEE 754 rounds a sum with it to a whole
 * number, half to even.
 */
const ROUNDER = 6755399441055744;

/** The nearest whole number, ties to even, for |x| < 2^51. Math.round sends ties up. */
export const roundHalfEven = (x: number): number => x + ROUNDER - ROUNDER;

/**
 * Widens floats to f32, which is exact. If `values` is given, they are written there. `bytes` may
 * begin at any address.
 */
export function decodeFloats(
  dtype: Float,
  bytes: Uint8Array,
  values = new Float32Array(bytes.length / FLOAT_BYTES[dtype]),
): Float32Array<ArrayBuffer> {
  assert(bytes.length === values.length * FLOAT_BYTES[dtype], `${bytes.length} bytes are ${values.length} of ${dtype}`);
  if (dtype === "f32") {
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(bytes);
    return values;
  }
  const halves = halfWords(bytes);
  if (dtype === "bf16") {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  } else {
    const table = f16Table();
    for (let i = 0; i < halves.length; i++) values[i] = table[halves[i]!]!;
  }
  return values;
}

/** Rounds f32 numbers to `dtype`, ties to even. For f32, the result is a view of `values`. */
export function encodeFloats(dtype: Float, values: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (dtype === "f32") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const convert = dtype === "f16" ? f32ToF16 : f32ToBf16;
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) halves[i] = convert(values[i]!);
  return new Uint8Array(halves.buffer);
}

/** The same bytes as u16 words: a view where the address allows one, else a copy. */
function halfWords(bytes: Uint8Array): Uint16Array {
  if (bytes.byteOffset % 2 === 0) return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return new Uint16Array(bytes.slice().buffer);
}

let cachedF16: Float32Array | undefined;

/**
 * All 65,536 binary16 numbers as f32 (256 KiB). A look-up is several times faster than computing
 * each number.
 */
function f16Table(): Float32Array {
  cachedF16 ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => f16ToF32(bits));
  return cachedF16;
}
