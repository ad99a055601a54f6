// y[t] = w[id of token t]. Each lane writes 8 columns.
override w_bits: u32;
override w_table: u32;
override w_group: u32;
override w_dtype: u32;

struct Numbers {
  columns: u32,
  w_weight: u32,
  w_scales: u32,
  w_biases: u32,
  w_stride: u32,
  w_first: u32,
}

@group(1) @binding(0) var<storage, read> w: array<u32>;        // [V, D] encoded
@group(1) @binding(1) var<storage, read_write> y: array<f32>;  // [T, D]
@group(1) @binding(2) var<uniform> numbers: Numbers;

fn word(at: u32) -> u32 { return w[at]; }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let t = id.y;
  let column = id.x * 8u;
  if (t >= rows() || column >= numbers.columns) { return; }
  var token = step.tokens[t / 4u][t % 4u];
  if (step.sampled != 0u) { token = state.token; }
  let m = Matrix(w_bits, w_table, w_group, w_dtype, numbers.w_weight, numbers.w_scales, numbers.w_biases, numbers.w_stride, numbers.w_first, numbers.columns);
  let e = eight(m, token, column);
  for (var i = 0u; i < 4u; i++) {
    if (column + i < numbers.columns) { y[t * numbers.columns + column + i] = e.low[i]; }
    if (column + i + 4u < numbers.columns) { y[t * numbers.columns + column + i + 4u] = e.high[i]; }
  }
}
