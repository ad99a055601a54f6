// shares[t] = softmax(logits[t]) or sigmoid(logits[t]); keys[t] = shares[t] + bias, by which
// experts are chosen, and LOWEST in the groups that are not among the best: a group is worth the
// sum of its two largest keys, ties go to the lowest group. One workgroup per token; each lane is
// an expert.
override experts: u32;     // E
override is_sigmoid: bool;
override has_bias: bool;
override groups: u32;      // 0: none

struct Numbers {
  best: u32,    // how many groups stay
  offset: u32,  // of bias, in words
}

@group(1) @binding(0) var<storage, read> logits: array<f32>;        // [T, E]
@group(1) @binding(1) var<storage, read> bias: array<f32>;          // [E]
@group(1) @binding(2) var<storage, read_write> shares: array<f32>;  // [T, E]
@group(1) @binding(3) var<storage, read_write> keys: array<f32>;    // [T, E]
@group(1) @binding(4) var<uniform> numbers: Numbers;

var<workgroup> scratch: array<f32, 256>;
var<workgroup> key_of: array<f32, 256>;   // by expert
var<workgroup> worth_of: array<f32, 256>; // by group

fn largest(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  scratch[lane] = value;
  for (var stride = 128u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { scratch[lane] = max(scratch[lane], scratch[lane + stride]); }
  }
  workgroupBarrier();
  return scratch[0];
}

fn total(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  scratch[lane] = value;
  for (var stride = 128u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { scratch[lane] += scratch[lane + stride]; }
  }
  workgroupBarrier();
  return scratch[0];
}

fn worth(group: u32, size: u32) -> f32 {
  var first = LOWEST;
  var second = LOWEST;
  for (var e = group * size; e < (group + 1u) * size; e++) {
    let key = key_of[e];
    second = max(second, min(first, key));
    first = max(first, key);
  }
  return first + second;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let t = id.y;
  if (t >= rows()) { return; }
  let is_expert = lane < experts;
  var logit = LOWEST;
  if (is_expert) { logit = logits[t * experts + lane]; }
  var share = 0.0;
  if (is_sigmoid) {
    share = 1.0 / (1.0 + exp(min(-logit, 80.0)));
  } else {
    let most = largest(logit, lane);
    let power = select(0.0, exp(logit - most), is_expert);
    share = power / total(power, lane);
  }
  var key = share;
  if (has_bias && is_expert) { key += bias[numbers.offset + lane]; }

  if (groups > 0u) {
    // Without groups this is compiled all the same, and must not divide by 0.
    let last = max(groups, 1u) - 1u;
    let size = experts / (last + 1u);
    key_of[lane] = key;
    workgroupBarrier();
    if (lane < groups) { worth_of[lane] = worth(lane, size); }
    workgroupBarrier();
    let own = min(lane / size, last);
    var rank = 0u;
    for (var g = 0u; g < groups; g++) {
      rank += u32(worth_of[g] > worth_of[own] || (worth_of[g] == worth_of[own] && g < own));
    }
    if (rank >= numbers.best) { key = LOWEST; }
  }
  if (!is_expert) { return; }
  shares[t * experts + lane] = share;
  keys[t * experts + lane] = key;
}
