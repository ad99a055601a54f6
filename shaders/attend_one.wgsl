// sum[h, i], largest[h, i], total[h, i] of exp(q[h]·k / divisor - largest) v over the keys that the
// token sees, in each split i of 256 positions (flash decoding: Dao 2023). One workgroup per head
// and split. Keys come in blocks of 64; of each block, a lane scores one key, then sums columns of
// v.
struct Numbers {
  heads: u32,     // H
  kv_heads: u32,  // K
  ring: u32,
  window: u32,    // 0: none
  factor: f32,    // 1 / divisor
  splits: u32,    // the most splits that a window can touch
}
override head_width: u32;  // C

@group(1) @binding(0) var<storage, read> q: array<vec4<f32>>;        // [1, H * C / 4]
@group(1) @binding(1) var<storage, read> keys: array<vec4<f32>>;     // [ring, K * C / 4]
@group(1) @binding(2) var<storage, read> values: array<f32>;         // [ring, K * C]
@group(1) @binding(3) var<storage, read_write> partial: array<f32>;  // [H, splits, C + 2]: sum, largest, total
@group(1) @binding(4) var<uniform> numbers: Numbers;

var<workgroup> query: array<vec4<f32>, 128>;
var<workgroup> shares: array<f32, 64>;
var<workgroup> scratch: array<f32, 64>;

fn largest_of(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  scratch[lane] = value;
  for (var stride = 32u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { scratch[lane] = max(scratch[lane], scratch[lane + stride]); }
  }
  workgroupBarrier();
  return scratch[0];
}

fn sum_of(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  scratch[lane] = value;
  for (var stride = 32u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { scratch[lane] += scratch[lane + stride]; }
  }
  workgroupBarrier();
  return scratch[0];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  if (rows() == 0u) { return; }
  let head = group.x;
  let shared_head = head * numbers.kv_heads / numbers.heads;
  let quads = head_width / 4u;
  let position = step.position;
  var first = 0u;
  if (numbers.window != 0u) { first = max(position + 1u, numbers.window) - numbers.window; }
  let split = first / 256u + group.y;
  if (split * 256u > position) { return; }

  for (var i = lane; i < quads; i += 64u) { query[i] = q[head * quads + i]; }
  var sums = array<f32, 8>();  // of columns lane, lane + 64, ...
  var total = 0.0;
  var largest = LOWEST;
  let begin = max(first, split * 256u);
  let end = min(position, split * 256u + 255u);
  for (var block = begin / 64u; block <= end / 64u; block++) {
    workgroupBarrier();
    let s = block * 64u + lane;
    let seen = s >= begin && s <= end;
    var score = LOWEST;
    if (seen) {
      let at = (s % numbers.ring * numbers.kv_heads + shared_head) * quads;
      score = 0.0;
      for (var i = 0u; i < quads; i++) { score += dot(query[i], keys[at + i]); }
      score *= numbers.factor;
    }
    let now = max(largest, largest_of(score, lane));
    let kept = exp(largest - now);
    largest = now;
    let share = select(0.0, exp(score - now), seen);
    shares[lane] = share;
    total = total * kept + sum_of(share, lane);
    for (var i = 0u; i * 64u < head_width; i++) { sums[i] *= kept; }
    for (var j = max(begin, block * 64u); j <= min(end, block * 64u + 63u); j++) {
      let at = (j % numbers.ring * numbers.kv_heads + shared_head) * head_width;
      let part = shares[j % 64u];
      for (var i = 0u; i * 64u + lane < head_width; i++) { sums[i] += part * values[at + i * 64u + lane]; }
    }
  }
  let at = (head * numbers.splits + group.y) * (head_width + 2u);
  for (var i = 0u; i * 64u + lane < head_width; i++) { partial[at + i * 64u + lane] = sums[i]; }
  if (lane == 0u) {
    partial[at + head_width] = largest;
    partial[at + head_width + 1u] = total;
  }
}
