// y[pair] = w2 up[pair] + b2 of the pair's expert. Each workgroup computes 32 rows of a tile of up
// to 32 pairs that share an expert; each lane computes 4 rows of 4 pairs. Every sum runs over the
// columns in order, wherever in its tile a pair lies.
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
@group(1) @binding(5) var<storage, read> up: array<f32>;       // [T * A, F]
@group(1) @binding(6) var<storage, read_write> y: array<f32>;  // [T * A, D]

const PITCH = 33u;
var<workgroup> members: array<u32, 32>;  // the tile's pairs
var<workgroup> xs: array<f32, 528>;     // [16 columns, 32 pairs]
var<workgroup> ws: array<f32, 528>;     // [16 columns, 32 rows]

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
  let m = Matrix(
    w2_bits, w2_table, w2_group, w2_dtype, w2_weight,
    w2_scales, w2_biases, w2_stride, w2_first, columns,
  );
  let b2 = Bias(b2_dtype, b2_weight, b2_stride, b2_first);
  let busy = lane.y * 4u < count;
  if (index < count) { members[index] = routes[order_at(begin + index)]; }
  workgroupBarrier();

  var sum = array<vec4<f32>, 4>();
  for (var start = 0u; start < columns; start += 16u) {
    let column = start + index % 16u;
    for (var p = index / 16u; p < 32u; p += 4u) {
      var value = 0.0;
      if (p < count && column < columns) { value = up[members[p] * columns + column]; }
      xs[(index % 16u) * PITCH + p] = value;
    }
    let r = index % 32u;
    let part = index / 32u * 8u;
    var e = Eight();
    if (first_row + r < height) { e = eight(m, first_row + r, start + part); }
    for (var i = 0u; i < 4u; i++) {
      ws[(part + i) * PITCH + r] = e.low[i];
      ws[(part + i + 4u) * PITCH + r] = e.high[i];
    }
    workgroupBarrier();
    if (busy) {
      for (var k = 0u; k < 16u; k++) {
        let at = k * PITCH + lane.x * 4u;
        let a = vec4(ws[at], ws[at + 1u], ws[at + 2u], ws[at + 3u]);
        for (var j = 0u; j < 4u; j++) { sum[j] += xs[k * PITCH + lane.y * 4u + j] * a; }
      }
    }
    workgroupBarrier();
  }

  for (var j = 0u; j < 4u; j++) {
    let p = lane.y * 4u + j;
    if (p >= count) { return; }
    let four = first_row + lane.x * 4u;
    let result = biased(sum[j], b2, four);
    for (var i = 0u; i < 4u; i++) {
      let row = four + i;
      if (row < height) { y[members[p] * height + row] = result[i]; }
    }
  }
}
