// y[t, h] = softmax(q[t, h]·k / divisor) v over the keys that token t sees and the head's sink. One
// workgroup per head and 4 tokens, whose numbers lie side by side in a vec4. Keys come in blocks at
// absolute multiples of 64 positions (0, 64, 128, …). Of each block, a lane scores one key, then
// sums columns of v (online softmax: Milakov and Gimelshein 2018). A block in which a token sees no
// key leaves its sums as they are, so that its bits do not depend on its neighbours.
struct Numbers {
  heads: u32,     // H
  kv_heads: u32,  // K
  ring: u32,
  window: u32,    // 0: none
  factor: f32,    // 1 / divisor
}
override head_width: u32;  // C
override has_sinks: bool;

@group(1) @binding(0) var<storage, read> q: array<vec4<f32>>;     // [T, H * C / 4]
@group(1) @binding(1) var<storage, read> keys: array<vec4<f32>>;  // [ring, K * C / 4]
@group(1) @binding(2) var<storage, read> values: array<f32>;      // [ring, K * C]
@group(1) @binding(3) var<storage, read> sinks: array<f32>;       // [H], if has_sinks: a logit without a value
@group(1) @binding(4) var<storage, read_write> y: array<f32>;     // [T, H * C]
@group(1) @binding(5) var<uniform> numbers: Numbers;

var<workgroup> query: array<vec4<f32>, 512>;         // [4 tokens, C / 4]
var<workgroup> shares: array<vec4<f32>, 64>;         // by key of the block, for 4 tokens
var<workgroup> scratch: array<vec4<f32>, 64>;

fn largest_of(value: vec4<f32>, lane: u32) -> vec4<f32> {
  workgroupBarrier();
  scratch[lane] = value;
  for (var stride = 32u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { scratch[lane] = max(scratch[lane], scratch[lane + stride]); }
  }
  workgroupBarrier();
  return scratch[0];
}

fn sum_of(value: vec4<f32>, lane: u32) -> vec4<f32> {
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
  let count = rows();
  let t = group.y * 4u;
  if (t >= count) { return; }
  let head = group.x;
  let shared_head = head * numbers.kv_heads / numbers.heads;
  let quads = head_width / 4u;
  // A group at the end of the step may have fewer than 4 tokens. The places beyond hold copies of
  // the last token, so that every lane has something to compute; their results are not written.
  let tokens = min(vec4(t) + vec4(0u, 1u, 2u, 3u), vec4(count - 1u));
  let position = step.position + tokens;
  var first = vec4(0u);
  if (numbers.window != 0u) { first = max(position + 1u, vec4(numbers.window)) - numbers.window; }

  for (var i = lane; i < head_width; i += 64u) {
    query[i] = q[(tokens[i / quads] * numbers.heads + head) * quads + i % quads];
  }
  var sums = array<vec4<f32>, 8>();  // of columns lane, lane + 64, ..., for 4 tokens
  var total = vec4(0.0);
  var largest = vec4(LOWEST);
  if (has_sinks) {
    largest = vec4(sinks[head]);
    total = vec4(1.0);
  }
  for (var block = first.x / 64u; block <= position.w / 64u; block++) {
    workgroupBarrier();
    let s = block * 64u + lane;
    let seen = (vec4(s) >= first) & (vec4(s) <= position);
    var score = vec4(0.0);
    if (any(seen)) {
      let at = (s % numbers.ring * numbers.kv_heads + shared_head) * quads;
      for (var i = 0u; i < quads; i++) {
        let key = keys[at + i];
        score += vec4(
          dot(query[i], key),
          dot(query[quads + i], key),
          dot(query[2u * quads + i], key),
          dot(query[3u * quads + i], key),
        );
      }
    }
    score = select(vec4(LOWEST), score * numbers.factor, seen);
    let now = max(largest, largest_of(score, lane));
    let kept = exp(largest - now);
    largest = now;
    let share = select(vec4(0.0), exp(score - now), seen);
    shares[lane] = share;
    total = total * kept + sum_of(share, lane);
    for (var i = 0u; i * 64u < head_width; i++) { sums[i] *= kept; }
    for (var j = max(first.x, block * 64u); j <= min(position.w, block * 64u + 63u); j++) {
      let at = (j % numbers.ring * numbers.kv_heads + shared_head) * head_width;
      let part = shares[j % 64u];
      for (var i = 0u; i * 64u + lane < head_width; i++) { sums[i] += part * values[at + i * 64u + lane]; }
    }
  }
  for (var j = 0u; j < 4u; j++) {
    if (t + j >= count) { return; }
    let at = (tokens[j] * numbers.heads + head) * head_width;
    for (var i = 0u; i * 64u + lane < head_width; i++) { y[at + i * 64u + lane] = sums[i][j] / total[j]; }
  }
}
