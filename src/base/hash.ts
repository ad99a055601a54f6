/** SHA-256 (FIPS 180-4) of `bytes` as lower-case hex, computed by the platform's Web Crypto. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A random number, uniform in [0, 1), that depends on `seed` and `position` alone, so that sampling
 * keeps no generator state. It applies the finaliser of MurmurHash3 (Appleby) to both words and
 * takes 24 bits of the result, which f32 represents exactly. `sample.wgsl` computes the same
 * number.
 */
export function uniform(seed: number, position: number): number {
  let h = mix((seed ^ 0x9e3779b9) >>> 0);
  h = mix((h ^ position) >>> 0);
  return (h >>> 8) / 0x1000000;
}

function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
