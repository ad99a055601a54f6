/**
 * The table for `Ops.rope`, [positions, C]: row p holds cos(p θ_i), then sin(p θ_i). It is rounded
 * as in transformers: θ_i in f32, the product p θ_i to f32, then cos and sin from f64 to f32.
 */
export function ropeTable(inverseFrequencies: Float32Array, positions: number): Float32Array {
  const half = inverseFrequencies.length;
  const table = new Float32Array(positions * half * 2);
  for (let p = 0; p < positions; p++)
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(p * inverseFrequencies[i]!);
      table[p * half * 2 + i] = Math.cos(angle);
      table[p * half * 2 + half + i] = Math.sin(angle);
    }
  return table;
}

/** θ_i = base^(-2i / C), i < C / 2, in f32. (Su et al. 2021) */
export function inverseFrequencies(base: number, headWidth: number): Float32Array {
  return Float32Array.from(
    { length: headWidth / 2 },
    (_, i) => 1 / Math.fround(base ** Math.fround((2 * i) / headWidth)),
  );
}
