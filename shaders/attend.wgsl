// y[t, h] = softmax(q[t, h]·k / sqrt(C)) v over the keys that token t sees. One workgroup per head and token; keys come in blocks at
// absolute multiples of 64 positions, a lane scores one, then sums columns of v (online softmax: Milakov and Gimelshein 2018).
override heads: u32;       // H
override kv_heads: u32;    // K
override head_width: u32;  // C
override ring: u32;
override window: u32;      // 0: none

@group(1) @binding(0) var<storage, read> q: array<vec4<f32>>;     // [T, H * C / 4]
@group(1) @binding(1) var<storage, read> keys: array<vec4<f32>>;  // [ring, K * C / 4]
@group(1) @binding(2) var<storage, read> values: array<f32>;      // [ring, K * C]
@group(1) @binding(3) var<storage, read_write> y: array<f32>;     // [T, H * C]

var<workgroup> query: array<vec4<f32>, 64>;
var<workgroup> share: array<f32, 64>;
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
  let t = group.y;
  if (t >= rows()) { return; }
  let head = group.x;
  let shared_head = head * kv_heads / heads;
  let quads = head_width / 4u;
  let position = step.position + t;
  var first = 0u;
  if (window != 0u && position >= window) { first = position - window + 1u; }

  if (lane < quads) { query[lane] = q[(t * heads + head) * quads + lane]; }
  // Lanes past C repeat its last column, unheard.
  let column = min(vec4(lane) + vec4(0u, 64u, 128u, 192u), vec4(head_width - 1u));
  var sum = vec4(0.0);
  var total = 0.0;
  var largest = LOWEST;
  for (var block = first / 64u; block <= position / 64u; block++) {
    workgroupBarrier();
    let s = block * 64u + lane;
    let seen = s >= first && s <= position;
    var score = LOWEST;
    if (seen) {
      let at = (s % ring * kv_heads + shared_head) * quads;
      var products = vec4(0.0);
      for (var i = 0u; i < quads; i++) { products += query[i] * keys[at + i]; }
      score = (products.x + products.y + products.z + products.w) / sqrt(f32(head_width));
    }
    let now = max(largest, largest_of(score, lane));
    let kept = exp(largest - now);
    largest = now;
    let part = select(0.0, exp(score - now), seen);
    share[lane] = part;
    total = total * kept + sum_of(part, lane);
    sum *= kept;
    let begin = max(first, block * 64u);
    let end = min(position, block * 64u + 63u);
    for (var j = begin; j <= end; j++) {
      let at = (j % ring * kv_heads + shared_head) * head_width;
      let p = share[j % 64u];
      sum.x += p * values[at + column.x];
      if (head_width > 64u) { sum.y += p * values[at + column.y]; }
      if (head_width > 128u) {
        sum.z += p * values[at + column.z];
        sum.w += p * values[at + column.w];
      }
    }
  }
  let at = (t * heads + head) * head_width;
  for (var i = 0u; i < 4u; i++) {
    let c = lane + i * 64u;
    if (c < head_width) { y[at + c] = sum[i] / total; }
  }
}
