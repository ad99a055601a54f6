// y[pair] = w2 up[pair] + b2 of the pair's expert, for one token. Each workgroup computes 16 rows
// of one pair, in the way of `linear_one`.
override columns: u32;  // F
override height: u32;   // D
override w2_bits: u32;
override w2_table: u32;
override w2_group: u32;
override w2_dtype: u32;
override w2_weight: u32;
override w2_scales: u32;
override w2_biases: u32;
override w2_stride: u32;
override w2_first: u32;
override b2_dtype: u32;
override b2_weight: u32;
override b2_stride: u32;
override b2_first: u32;

@group(1) @binding(4) var<storage, read> routes: array<u32>;   // see routes.wgsl
@group(1) @binding(5) var<storage, read> up: array<f32>;       // [A, F]
@group(1) @binding(6) var<storage, read_write> y: array<f32>;  // [A, D]

var<workgroup> partial: array<vec4<f32>, 64>;

fn up_at(row: u32, i: u32) -> f32 {
  if (columns % 8u != 0u && i >= columns) { return 0.0; }
  return up[row * columns + i];
}

@compute @workgroup_size(16, 4)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
  let p = group.y;
  let expert = routes[chosen_at(p)];
  let place = routes[page_at(expert)];
  if (place == NONE) { return; }
  page = place;
  base = routes[base_at(expert)];
  let m = Matrix(
    w2_bits, w2_table, w2_group, w2_dtype, w2_weight,
    w2_scales, w2_biases, w2_stride, w2_first, columns,
  );
  let b2 = Bias(b2_dtype, b2_weight, b2_stride, b2_first);
  let first = group.x * 16u + lane.y * 4u;
  var sum = vec4(0.0);
  for (var c = lane.x * 8u; c < columns; c += 128u) {
    let low = vec4(up_at(p, c), up_at(p, c + 1u), up_at(p, c + 2u), up_at(p, c + 3u));
    let high = vec4(up_at(p, c + 4u), up_at(p, c + 5u), up_at(p, c + 6u), up_at(p, c + 7u));
    for (var r = 0u; r < 4u; r++) {
      let e = eight(m, min(first + r, height - 1u), c);
      sum[r] += dot(e.low, low) + dot(e.high, high);
    }
  }
  let at = lane.y * 16u + lane.x;
  partial[at] = sum;
  for (var stride = 8u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane.x < stride) { partial[at] += partial[at + stride]; }
  }
  if (lane.x > 0u) { return; }
  let result = biased(partial[at], b2, first);
  for (var i = 0u; i < 4u; i++) {
    if (first + i < height) { y[p * height + first + i] = result[i]; }
  }
}
