// up[pair] = activation(w1 x + b1, w3 x + b3) of the pair's expert, for one token. Each workgroup
// computes 16 rows of w1 and of w3 for one pair, in the way of `linear_one`.
override columns: u32;  // D
override height: u32;   // F
override w1_bits: u32;
override w1_table: u32;
override w1_group: u32;
override w1_dtype: u32;
override w1_weight: u32;
override w1_scales: u32;
override w1_biases: u32;
override w1_stride: u32;
override w1_first: u32;
override w3_bits: u32;
override w3_table: u32;
override w3_group: u32;
override w3_dtype: u32;
override w3_weight: u32;
override w3_scales: u32;
override w3_biases: u32;
override w3_stride: u32;
override w3_first: u32;
override b1_dtype: u32;
override b1_weight: u32;
override b1_stride: u32;
override b1_first: u32;
override b3_dtype: u32;
override b3_weight: u32;
override b3_stride: u32;
override b3_first: u32;

@group(1) @binding(4) var<storage, read> routes: array<u32>;    // see routes.wgsl
@group(1) @binding(5) var<storage, read> x: array<f32>;         // [1, D]
@group(1) @binding(6) var<storage, read_write> up: array<f32>;  // [A, F]

var<workgroup> gates: array<vec4<f32>, 64>;
var<workgroup> ups: array<vec4<f32>, 64>;

fn x_at(i: u32) -> f32 {
  if (columns % 8u != 0u && i >= columns) { return 0.0; }
  return x[i];
}

@compute @workgroup_size(16, 4)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) lane: vec3<u32>) {
  let pair = group.y;
  let expert = routes[chosen_at(pair)];
  let place = routes[page_at(expert)];
  if (place == NONE) { return; }
  page = place;
  base = routes[base_at(expert)];
  let w1 = Matrix(
    w1_bits, w1_table, w1_group, w1_dtype, w1_weight,
    w1_scales, w1_biases, w1_stride, w1_first, columns,
  );
  let w3 = Matrix(
    w3_bits, w3_table, w3_group, w3_dtype, w3_weight,
    w3_scales, w3_biases, w3_stride, w3_first, columns,
  );
  let b1 = Bias(b1_dtype, b1_weight, b1_stride, b1_first);
  let b3 = Bias(b3_dtype, b3_weight, b3_stride, b3_first);
  let first = group.x * 16u + lane.y * 4u;
  var gate = vec4(0.0);
  var other = vec4(0.0);
  for (var c = lane.x * 8u; c < columns; c += 128u) {
    let low = vec4(x_at(c), x_at(c + 1u), x_at(c + 2u), x_at(c + 3u));
    let high = vec4(x_at(c + 4u), x_at(c + 5u), x_at(c + 6u), x_at(c + 7u));
    for (var r = 0u; r < 4u; r++) {
      let a = eight(w1, min(first + r, height - 1u), c);
      let b = eight(w3, min(first + r, height - 1u), c);
      gate[r] += dot(a.low, low) + dot(a.high, high);
      other[r] += dot(b.low, low) + dot(b.high, high);
    }
  }
  let at = lane.y * 16u + lane.x;
  gates[at] = gate;
  ups[at] = other;
  for (var stride = 8u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane.x < stride) {
      gates[at] += gates[at + stride];
      ups[at] += ups[at + stride];
    }
  }
  if (lane.x > 0u) { return; }
  let result = activate(biased(gates[at], b1, first), biased(ups[at], b3, first));
  for (var i = 0u; i < 4u; i++) {
    if (first + i < height) { up[pair * height + first + i] = result[i]; }
  }
}
