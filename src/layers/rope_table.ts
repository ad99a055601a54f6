/**
 * The table for `Ops.rope`, [positions, R]: row p holds cos(p θ_i), then sin(p θ_i), both times
 * `scale`. It is rounded as in transformers: θ_i in f32, the product p θ_i to f32, then cos and sin
 * from f64 to f32.
 */
export function ropeTable(inverseFrequencies: Float32Array, positions: number, scale: number): Float32Array {
  const half = inverseFrequencies.length;
  const table = new Float32Array(positions * half * 2);
  for (let p = 0; p < positions; p++)
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(p * inverseFrequencies[i]!);
      table[p * half * 2 + i] = Math.cos(angle) * scale;
      table[p * half * 2 + half + i] = Math.sin(angle) * scale;
    }
  return table;
}

/** θ_i = base^(-2i / R), i < R / 2, in f32, for R rotated channels. (Su et al. 2021) */
export function inverseFrequencies(base: number, rotated: number): Float32Array {
  return Float32Array.from({ length: rotated / 2 }, (_, i) => 1 / Math.fround(base ** Math.fround((2 * i) / rotated)));
}
