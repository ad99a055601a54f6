// w[row, column .. column + 8] of a matrix that lies in u32 words as base/matrix.ts says. The
// shader that uses this defines `word(at)`, which reads one of the words.
struct Matrix {
  bits: u32,     // 4 or 8: affine; 0: plain
  group: u32,
  dtype: u32,    // of the numbers, or of scales and biases
  weight: u32,   // offsets in words
  scales: u32,
  biases: u32,
  columns: u32,
}

struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

const F32 = 0u;
const BF16 = 2u;

// Widens the bits of an f16. It computes with integers, since float operations may flush subnormals
// to zero.
fn half(bits: u32) -> f32 {
  let magnitude = bits & 0x7fffu;
  let normal = bitcast<f32>((magnitude << 13u) + 0x38000000u);
  let subnormal = f32(magnitude) * 5.9604644775390625e-8;
  let value = select(normal, subnormal, magnitude < 0x400u);
  return select(value, -value, (bits & 0x8000u) != 0u);
}

fn number(base: u32, index: u32, dtype: u32) -> f32 {
  if (dtype == F32) { return bitcast<f32>(word(base + index)); }
  let bits = (word(base + index / 2u) >> (16u * (index & 1u))) & 0xffffu;
  if (dtype == BF16) { return bitcast<f32>(bits << 16u); }
  return half(bits);
}

fn eight(m: Matrix, row: u32, column: u32) -> Eight {
  let index = row * m.columns + column;
  if (m.bits == 0u) { return plain_eight(m, index, column); }
  let group = index / m.group;
  let scale = number(m.scales, group, m.dtype);
  let bias = number(m.biases, group, m.dtype);
  // Eight numbers of 4 bits lie in one word, which is read for both halves; eight of 8 bits lie in
  // two neighbouring words, of which `low` reads the first and `high` the second.
  let at = m.weight + index / 32u * m.bits + index % 32u * m.bits / 32u;
  let mask = vec4((1u << m.bits) - 1u);
  let shift = vec4(0u, 1u, 2u, 3u) * m.bits;
  let low = (vec4(word(at)) >> shift) & mask;
  let high = (vec4(word(at + m.bits / 4u - 1u)) >> (shift + (8u - m.bits) * 4u)) & mask;
  return Eight(scale * vec4<f32>(low) + bias, scale * vec4<f32>(high) + bias);
}

// Gives zeros beyond the last column.
fn plain_eight(m: Matrix, index: u32, column: u32) -> Eight {
  var numbers = array<f32, 8>();
  let count = min(8u, m.columns - min(column, m.columns));
  for (var i = 0u; i < count; i++) { numbers[i] = number(m.weight, index + i, m.dtype); }
  return Eight(
    vec4(numbers[0], numbers[1], numbers[2], numbers[3]),
    vec4(numbers[4], numbers[5], numbers[6], numbers[7]),
  );
}
