// y[t] = w x[t]. Each workgroup computes 32 rows of 32 tokens, each lane 4 rows of 4 tokens. Every
// sum runs over the columns in order, wherever in its tile a token lies.
override w_bits: u32;
override w_table: u32;
override w_group: u32;
override w_dtype: u32;

struct Numbers {
  columns: u32,
  height: u32,
  w_weight: u32,
  w_scales: u32,
  w_biases: u32,
  w_stride: u32,
  w_first: u32,
}

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T, D]
@group(1) @binding(1) var<storage, read> w: array<u32>;        // [out, D] encoded
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [T, out]
@group(1) @binding(3) var<uniform> numbers: Numbers;

const PITCH = 33u;  // spreads the columns of a tile over the memory banks
var<workgroup> xs: array<f32, 528>;  // [16 columns, 32 tokens]
var<workgroup> ws: array<f32, 528>;  // [16 columns, 32 rows]

fn word(at: u32) -> u32 { return w[at]; }

@compute @workgroup_size(8, 8)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) lane: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let count = rows();
  let first_token = group.y * 32u;
  let first_row = group.x * 32u;
  if (first_token >= count) { return; }
  let m = Matrix(w_bits, w_table, w_group, w_dtype, numbers.w_weight, numbers.w_scales, numbers.w_biases, numbers.w_stride, numbers.w_first, numbers.columns);
  let busy = first_token + lane.y * 4u < count;

  var sum = array<vec4<f32>, 4>();
  for (var begin = 0u; begin < numbers.columns; begin += 16u) {
    let column = begin + index % 16u;
    for (var t = index / 16u; t < 32u; t += 4u) {
      var value = 0.0;
      if (first_token + t < count && column < numbers.columns) { value = x[(first_token + t) * numbers.columns + column]; }
      xs[(index % 16u) * PITCH + t] = value;
    }
    let r = index % 32u;
    let part = index / 32u * 8u;
    var e = Eight();
    if (first_row + r < numbers.height) { e = eight(m, first_row + r, begin + part); }
    for (var i = 0u; i < 4u; i++) {
      ws[(part + i) * PITCH + r] = e.low[i];
      ws[(part + i + 4u) * PITCH + r] = e.high[i];
    }
    workgroupBarrier();
    if (busy) {
      for (var k = 0u; k < 16u; k++) {
        let a = k * PITCH + lane.x * 4u;
        let b = k * PITCH + lane.y * 4u;
        let row = vec4(ws[a], ws[a + 1u], ws[a + 2u], ws[a + 3u]);
        sum[0] += xs[b] * row;
        sum[1] += xs[b + 1u] * row;
        sum[2] += xs[b + 2u] * row;
        sum[3] += xs[b + 3u] * row;
      }
    }
    workgroupBarrier();
  }

  for (var j = 0u; j < 4u; j++) {
    let t = first_token + lane.y * 4u + j;
    if (t >= count) { return; }
    for (var i = 0u; i < 4u; i++) {
      let row = first_row + lane.x * 4u + i;
      if (row < numbers.height) { y[t * numbers.height + row] = sum[j][i]; }
    }
  }
}
