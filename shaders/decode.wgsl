// w[row, column .. column + 8] of a matrix that lies in u32 words as base/matrix.ts says. The
// shader that uses this defines `word(at)`, which reads one of the words.
struct Matrix {
  bits: u32,     // of each weight's integer; 0: plain
  table: u32,    // that the integers count in; 0: affine
  group: u32,
  dtype: u32,    // of the numbers, or of scales and biases
  weight: u32,   // offsets in words
  scales: u32,
  biases: u32,
  stride: u32,   // row r is row first + r * stride of the ranges
  first: u32,
  columns: u32,
}

struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

const F32 = 0u;
const BF16 = 2u;
const E8M0 = 3u;
const FP4 = 1u;

// Widens the bits of an f16 that is finite. It computes with integers, since float operations may
// flush subnormals to zero.
fn half(bits: u32) -> f32 {
  let magnitude = bits & 0x7fffu;
  let normal = bitcast<f32>((magnitude << 13u) + 0x38000000u);
  let subnormal = f32(magnitude) * 5.9604644775390625e-8;
  let value = select(normal, subnormal, magnitude < 0x400u);
  return select(value, -value, (bits & 0x8000u) != 0u);
}

// 2^(bits - 127).
fn power(bits: u32) -> f32 {
  return bitcast<f32>(max(bits << 23u, 0x400000u));
}

fn number(base: u32, index: u32, dtype: u32) -> f32 {
  if (dtype == F32) { return bitcast<f32>(word(base + index)); }
  if (dtype == E8M0) { return power((word(base + index / 4u) >> (8u * (index & 3u))) & 0xffu); }
  let bits = (word(base + index / 2u) >> (16u * (index & 1u))) & 0xffffu;
  if (dtype == BF16) { return bitcast<f32>(bits << 16u); }
  return half(bits);
}

fn eight(m: Matrix, row: u32, column: u32) -> Eight {
  let index = (m.first + row * m.stride) * m.columns + column;
  if (m.bits == 0u) { return plain_eight(m, index, column); }
  let group = index / m.group;
  let scale = number(m.scales, group, m.dtype);
  let q = integers(m, index);
  if (m.table == FP4) { return Eight(scale * fp4(q[0]), scale * fp4(q[1])); }
  let bias = number(m.biases, group, m.dtype);
  return Eight(scale * vec4<f32>(q[0]) + bias, scale * vec4<f32>(q[1]) + bias);
}

// Eight integers from `index` on, a multiple of 8.
fn integers(m: Matrix, index: u32) -> array<vec4<u32>, 2> {
  let mask = vec4((1u << m.bits) - 1u);
  let shift = vec4(0u, 1u, 2u, 3u) * m.bits;
  if (m.bits == 4u || m.bits == 8u) {
    // Eight integers of 4 bits lie in one word, which is read for both halves; eight of 8 bits lie
    // in two neighbouring words, of which `low` reads the first and `high` the second.
    let at = m.weight + index / 32u * m.bits + index % 32u * m.bits / 32u;
    let low = (vec4(word(at)) >> shift) & mask;
    let high = (vec4(word(at + m.bits / 4u - 1u)) >> (shift + (8u - m.bits) * 4u)) & mask;
    return array(low, high);
  }
  let low = vec4(bits_at(m, index)) >> shift;
  let high = vec4(bits_at(m, index + 4u)) >> shift;
  return array(low & mask, high & mask);
}

// The bits of four integers, which may begin in one word and end in the next.
fn bits_at(m: Matrix, index: u32) -> u32 {
  let bit = index % 32u * m.bits;
  let at = m.weight + index / 32u * m.bits + bit / 32u;
  let skipped = bit % 32u;
  let begun = word(at) >> skipped;
  if (skipped + 4u * m.bits <= 32u) { return begun; }
  return begun | (word(at + 1u) << (32u - skipped));
}

// The upper bit is the sign; the others are 0, 1, 2, 3, 4, 6, 8 and 12 halves. Arithmetic, since a
// table that each lane reads elsewhere is kept in slow memory.
fn fp4(q: vec4<u32>) -> vec4<f32> {
  let halves = (vec4(0xc8643210u) >> ((q & vec4(7u)) * 4u)) & vec4(15u);
  return bitcast<vec4<f32>>(bitcast<vec4<u32>>(0.5 * vec4<f32>(halves)) | ((q & vec4(8u)) << vec4(28u)));
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
