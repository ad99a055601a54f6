// y = w x for one token. Each workgroup computes 16 rows: every 16 lanes share 4 of them. A lane
// sums 8 columns of every 128 (lane 0 takes 0 to 7, 128 to 135, …); then the 16 lanes' sums are
// added.
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

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [1, D]
@group(1) @binding(1) var<storage, read> w: array<u32>;        // [out, D] encoded
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [1, out]
@group(1) @binding(3) var<uniform> numbers: Numbers;

var<workgroup> partial: array<vec4<f32>, 64>;

fn word(at: u32) -> u32 { return w[at]; }

fn x_at(i: u32) -> f32 {
  if (w_bits == 0u && i >= numbers.columns) { return 0.0; }
  return x[i];
}

@compute @workgroup_size(16, 4)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
  if (rows() == 0u) { return; }
  let m = Matrix(w_bits, w_table, w_group, w_dtype, numbers.w_weight, numbers.w_scales, numbers.w_biases, numbers.w_stride, numbers.w_first, numbers.columns);
  let first = group.x * 16u + lane.y * 4u;
  var sum = vec4(0.0);
  for (var c = lane.x * 8u; c < numbers.columns; c += 128u) {
    let low = vec4(x_at(c), x_at(c + 1u), x_at(c + 2u), x_at(c + 3u));
    let high = vec4(x_at(c + 4u), x_at(c + 5u), x_at(c + 6u), x_at(c + 7u));
    for (var r = 0u; r < 4u; r++) {
      let e = eight(m, min(first + r, numbers.height - 1u), c);
      sum[r] += dot(e.low, low) + dot(e.high, high);
    }
  }
  let at = lane.y * 16u + lane.x;
  partial[at] = sum;
  for (var stride = 8u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane.x < stride) { partial[at] += partial[at + stride]; }
  }
  workgroupBarrier();
  if (lane.x < 4u && first + lane.x < numbers.height) { y[first + lane.x] = partial[lane.y * 16u][lane.x]; }
}
