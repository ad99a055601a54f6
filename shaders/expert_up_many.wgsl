// up[pair] = activation(w1 x[t] + b1, w3 x[t] + b3) of the pair's expert. Each workgroup computes
// 32 rows of a tile of up to 32 pairs that share an expert; each lane computes 4 rows of 4 pairs.
// Every sum runs over the columns in order, wherever in its tile a pair lies.
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
@group(1) @binding(5) var<storage, read> x: array<f32>;         // [T, D]
@group(1) @binding(6) var<storage, read_write> up: array<f32>;  // [T * A, F]

const PITCH = 33u;
var<workgroup> members: array<u32, 32>;  // the tile's pairs
var<workgroup> xs: array<f32, 528>;     // [16 columns, 32 pairs]
var<workgroup> w1s: array<f32, 528>;    // [16 columns, 32 rows]
var<workgroup> w3s: array<f32, 528>;

@compute @workgroup_size(8, 8)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_id) lane: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  if (group.y >= routes[tiles_at()]) { return; }
  let expert = routes[tile_at(group.y)];
  let begin = routes[tile_at(group.y) + 1u];
  let place = routes[page_at(expert)];
  if (place == NONE) { return; }
  page = place;
  base = routes[base_at(expert)];
  let count = min(TILE, routes[start_at(expert + 1u)] - begin);
  let first_row = group.x * 32u;
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
  let busy = lane.y * 4u < count;
  if (index < count) { members[index] = routes[order_at(begin + index)]; }
  workgroupBarrier();

  var gate = array<vec4<f32>, 4>();
  var other = array<vec4<f32>, 4>();
  for (var start = 0u; start < columns; start += 16u) {
    let column = start + index % 16u;
    for (var p = index / 16u; p < 32u; p += 4u) {
      var value = 0.0;
      if (p < count && column < columns) { value = x[members[p] / top * columns + column]; }
      xs[(index % 16u) * PITCH + p] = value;
    }
    let r = index % 32u;
    let part = index / 32u * 8u;
    var a = Eight();
    var b = Eight();
    if (first_row + r < height) {
      a = eight(w1, first_row + r, start + part);
      b = eight(w3, first_row + r, start + part);
    }
    for (var i = 0u; i < 4u; i++) {
      w1s[(part + i) * PITCH + r] = a.low[i];
      w1s[(part + i + 4u) * PITCH + r] = a.high[i];
      w3s[(part + i) * PITCH + r] = b.low[i];
      w3s[(part + i + 4u) * PITCH + r] = b.high[i];
    }
    workgroupBarrier();
    if (busy) {
      for (var k = 0u; k < 16u; k++) {
        let at = k * PITCH + lane.x * 4u;
        let a = vec4(w1s[at], w1s[at + 1u], w1s[at + 2u], w1s[at + 3u]);
        let b = vec4(w3s[at], w3s[at + 1u], w3s[at + 2u], w3s[at + 3u]);
        let c = k * PITCH + lane.y * 4u;
        gate[0] += xs[c] * a;
        gate[1] += xs[c + 1u] * a;
        gate[2] += xs[c + 2u] * a;
        gate[3] += xs[c + 3u] * a;
        other[0] += xs[c] * b;
        other[1] += xs[c + 1u] * b;
        other[2] += xs[c + 2u] * b;
        other[3] += xs[c + 3u] * b;
      }
    }
    workgroupBarrier();
  }

  for (var j = 0u; j < 4u; j++) {
    let p = lane.y * 4u + j;
    if (p >= count) { return; }
    let four = first_row + lane.x * 4u;
    let result = activate(biased(gate[j], b1, four), biased(other[j], b3, four));
    for (var i = 0u; i < 4u; i++) {
      let row = four + i;
      if (row < height) { up[members[p] * height + row] = result[i]; }
    }
  }
}
