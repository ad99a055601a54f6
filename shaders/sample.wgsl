// token = the largest logit (ties to the lowest id), or a draw from softmax(logits / temperature)
// over those that topK and then topP keep. The thresholds are found digit by digit in keys that
// sort like the logits (`key_of`). The draw walks the vocabulary in order. One workgroup.
struct Numbers {
  vocabulary: u32,  // V
}

@group(0) @binding(1) var<storage, read_write> report: Report;
@group(1) @binding(0) var<storage, read> logits: array<f32>;  // [T, V], or [1, V]
@group(1) @binding(1) var<uniform> numbers: Numbers;

const LANES = 256u;
var<workgroup> stalled: u32;
var<workgroup> keys: array<u32, LANES>;
var<workgroup> ids: array<u32, LANES>;
var<workgroup> sums: array<vec4<f32>, LANES>;
var<workgroup> unsound: atomic<u32>;
var<workgroup> drawn: u32;

// Maps floats to unsigned integers that sort in the same order; -0 and 0 have the same key.
fn key_of(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  if (bits == 0x80000000u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn mix(value: u32) -> u32 {
  var h = (value ^ (value >> 16u)) * 0x85ebca6bu;
  h = (h ^ (h >> 13u)) * 0xc2b2ae35u;
  return h ^ (h >> 16u);
}

// The same number as `uniform` of base/hash.ts.
fn uniform_number(seed: u32, position: u32) -> f32 {
  return f32(mix(mix(seed ^ 0x9e3779b9u) ^ position) >> 8u) / 16777216.0;
}

fn weight_of(logit: f32, largest: f32) -> f32 {
  return exp(max((logit - largest) / step.temperature, -1000.0));
}

fn total_of(value: vec4<f32>, lane: u32) -> vec4<f32> {
  workgroupBarrier();
  sums[lane] = value;
  for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { sums[lane] += sums[lane + stride]; }
  }
  return workgroupUniformLoad(&sums[0]);
}

// Among the logits whose keys are `least` or more: the largest key such that those from it on
// together weigh `enough` (are `enough` in number if `counting`). The key is found from its highest
// digit on, four bits a turn.
fn search(enough: f32, least: u32, counting: bool, row: u32, largest: f32, lane: u32) -> u32 {
  var found = 0u;
  for (var turn = 0u; turn < 8u; turn++) {
    let shift = 28u - 4u * turn;
    var bins = array<vec4<f32>, 4>();  // by digit: the weight of all from found + (digit << shift) on
    for (var id = lane; id < numbers.vocabulary; id += LANES) {
      let logit = logits[row + id];
      let key = key_of(logit);
      if (key < max(least, found)) { continue; }
      var weight = 1.0;
      if (!counting) { weight = weight_of(logit, largest); }
      for (var i = 0u; i < 4u; i++) {
        let edge = vec4(found) + ((vec4(0u, 1u, 2u, 3u) + 4u * i) << vec4(shift));
        bins[i] += select(vec4(0.0), vec4(weight), vec4(key) >= edge);
      }
    }
    var digit = 0u;
    for (var i = 0u; i < 4u; i++) {
      let total = total_of(bins[i], lane);
      for (var j = 0u; j < 4u; j++) {
        if (total[j] >= enough) { digit = 4u * i + j; }
      }
    }
    found += digit << shift;
  }
  return found;
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { stalled = report.stall; }
  if (workgroupUniformLoad(&stalled) != NONE || step.samples == 0u) { return; }
  let row = select((step.count - 1u) * numbers.vocabulary, 0u, last);

  var best = 0u;
  var best_id = NONE;
  for (var id = lane; id < numbers.vocabulary; id += LANES) {
    let logit = logits[row + id];
    if ((bitcast<u32>(logit) & 0x7f800000u) == 0x7f800000u) { atomicStore(&unsound, 1u); }
    let key = key_of(logit);
    if (key > best || best_id == NONE) {
      best = key;
      best_id = id;
    }
  }
  keys[lane] = best;
  ids[lane] = best_id;
  for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) {
      let other = keys[lane + stride];
      if (other > keys[lane] || (other == keys[lane] && ids[lane + stride] < ids[lane])) {
        keys[lane] = other;
        ids[lane] = ids[lane + stride];
      }
    }
  }
  let top_key = workgroupUniformLoad(&keys[0]);
  let top_id = workgroupUniformLoad(&ids[0]);
  if (lane == 0u) { report.finite = 1u - atomicLoad(&unsound); }
  if (step.temperature == 0.0) {
    if (lane == 0u) { report.token = top_id; }
    return;
  }
  let largest = logits[row + top_id];

  var threshold = 0u;
  if (step.top_k > 0u && step.top_k < numbers.vocabulary) {
    threshold = search(f32(step.top_k), 0u, true, row, largest, lane);
  }
  if (step.top_p < 1.0) {
    var mass = 0.0;
    for (var id = lane; id < numbers.vocabulary; id += LANES) {
      let logit = logits[row + id];
      if (key_of(logit) >= threshold) { mass += weight_of(logit, largest); }
    }
    let enough = step.top_p * total_of(vec4(mass), lane).x;
    threshold = max(threshold, min(search(enough, threshold, false, row, largest, lane), top_key));
  }

  let run = (numbers.vocabulary + LANES - 1u) / LANES;
  let end = min((lane + 1u) * run, numbers.vocabulary);
  var mass = 0.0;
  for (var id = lane * run; id < end; id++) {
    let logit = logits[row + id];
    if (key_of(logit) >= threshold) { mass += weight_of(logit, largest); }
  }
  workgroupBarrier();
  sums[lane].x = mass;
  workgroupBarrier();
  var total = 0.0;
  var before = 0.0;
  for (var i = 0u; i < LANES; i++) {
    if (i == lane) { before = total; }
    total += sums[i].x;
  }
  // Each lane has a run of the vocabulary; the lane in whose run the draw falls walks it. All lanes
  // add up the same sums in the same order, so that the draw falls into exactly one run.
  let goal = uniform_number(step.seed, step.position + step.count) * total;
  var left = goal - before;
  if (lane == 0u) { drawn = top_id; }
  workgroupBarrier();
  if (goal >= before && goal < before + mass) {
    for (var id = lane * run; id < end; id++) {
      let logit = logits[row + id];
      if (key_of(logit) < threshold) { continue; }
      let weight = weight_of(logit, largest);
      if (weight == 0.0) { continue; }
      drawn = id;
      left -= weight;
      if (left < 0.0) { break; }
    }
  }
  workgroupBarrier();
  if (lane == 0u) { report.token = drawn; }
}
