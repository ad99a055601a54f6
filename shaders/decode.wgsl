// w[row, column .. column + 8] of a matrix that lies in u32 words as base/matrix.ts says. The shader brings `word(at)`.
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

// By integers: as floats, subnormals may be flushed to zero.
fn half(bits: u32) -> f32 {
  let magnitude = bits & 0x7fffu;
  let normal = bitcast<f32>((magnitude << 13u) + 0x38000000u);
  let subnormal = f32(magnitude) * 5.9604644775390625e-8;
  let value = select(normal, subnormal, magnitude < 0x400u);
  return select(value, -value, (bits & 0x8000u) != 0u);
}

fn two(bits: u32, dtype: u32) -> vec2<f32> {
  if (dtype == BF16) { return vec2(bitcast<f32>(bits << 16u), bitcast<f32>(bits & 0xffff0000u)); }
  return vec2(half(bits & 0xffffu), half(bits >> 16u));
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
  var low: vec4<u32>;
  var high: vec4<u32>;
  if (m.bits == 4u) {
    let q = word(m.weight + index / 8u);
    low = (vec4(q) >> vec4(0u, 4u, 8u, 12u)) & vec4(15u);
    high = (vec4(q) >> vec4(16u, 20u, 24u, 28u)) & vec4(15u);
  } else {
    low = (vec4(word(m.weight + index / 4u)) >> vec4(0u, 8u, 16u, 24u)) & vec4(255u);
    high = (vec4(word(m.weight + index / 4u + 1u)) >> vec4(0u, 8u, 16u, 24u)) & vec4(255u);
  }
  return Eight(scale * vec4<f32>(low) + bias, scale * vec4<f32>(high) + bias);
}

// Beyond the last column: zeros.
fn plain_eight(m: Matrix, index: u32, column: u32) -> Eight {
  var e: Eight;
  if (column >= m.columns) { return e; }
  if (m.columns % 8u != 0u) {
    for (var i = 0u; i < 4u; i++) {
      if (column + i < m.columns) { e.low[i] = number(m.weight, index + i, m.dtype); }
      if (column + i + 4u < m.columns) { e.high[i] = number(m.weight, index + i + 4u, m.dtype); }
    }
    return e;
  }
  if (m.dtype == F32) {
    let at = m.weight + index;
    e.low = bitcast<vec4<f32>>(vec4(word(at), word(at + 1u), word(at + 2u), word(at + 3u)));
    e.high = bitcast<vec4<f32>>(vec4(word(at + 4u), word(at + 5u), word(at + 6u), word(at + 7u)));
    return e;
  }
  let at = m.weight + index / 2u;
  e.low = vec4(two(word(at), m.dtype), two(word(at + 1u), m.dtype));
  e.high = vec4(two(word(at + 2u), m.dtype), two(word(at + 3u), m.dtype));
  return e;
}
