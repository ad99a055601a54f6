// token = the largest logit (ties to the lowest id), or a draw from softmax(logits / temperature) over those that topK and then topP keep.
// Thresholds by bisection on the logits' bits in sortable order; the draw walks the vocabulary in order. One workgroup.
override vocabulary: u32;  // V

@group(0) @binding(1) var<storage, read_write> report: Report;
@group(1) @binding(0) var<storage, read> logits: array<f32>;  // [T, V], or [1, V]

const LANES = 256u;
var<workgroup> stalled: u32;
var<workgroup> keys: array<u32, LANES>;
var<workgroup> ids: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;
var<workgroup> counts: array<u32, LANES>;
var<workgroup> unsound: atomic<u32>;
var<workgroup> drawn: u32;

// Ascending as unsigned integers like the floats they come from; both zeros alike.
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

// As `uniform` of base/hash.ts.
fn uniform_number(seed: u32, position: u32) -> f32 {
  return f32(mix(mix(seed ^ 0x9e3779b9u) ^ position) >> 8u) / 16777216.0;
}

fn weight_of(logit: f32, largest: f32) -> f32 {
  return exp(max((logit - largest) / step.temperature, -1000.0));
}

fn total_of(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  sums[lane] = value;
  for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { sums[lane] += sums[lane + stride]; }
  }
  return workgroupUniformLoad(&sums[0]);
}

fn count_of(value: u32, lane: u32) -> u32 {
  workgroupBarrier();
  counts[lane] = value;
  for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { counts[lane] += counts[lane + stride]; }
  }
  return workgroupUniformLoad(&counts[0]);
}

// How many logits have keys from `threshold` on; how much they weigh.
fn number_from(threshold: u32, row: u32, lane: u32) -> u32 {
  var number = 0u;
  for (var id = lane; id < vocabulary; id += LANES) { number += u32(key_of(logits[row + id]) >= threshold); }
  return count_of(number, lane);
}

fn mass_from(threshold: u32, row: u32, largest: f32, lane: u32) -> f32 {
  var mass = 0.0;
  for (var id = lane; id < vocabulary; id += LANES) {
    let logit = logits[row + id];
    if (key_of(logit) >= threshold) { mass += weight_of(logit, largest); }
  }
  return total_of(mass, lane);
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { stalled = report.stall; }
  if (workgroupUniformLoad(&stalled) != NONE || step.samples == 0u) { return; }
  let row = select((step.count - 1u) * vocabulary, 0u, last);

  var best = 0u;
  var best_id = NONE;
  for (var id = lane; id < vocabulary; id += LANES) {
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

  // The largest threshold that keeps at least topK logits, then the largest one that keeps at least topP of their mass.
  var threshold = 0u;
  if (step.top_k > 0u && step.top_k < vocabulary) {
    var high = top_key;
    while (threshold < high) {
      let middle = threshold + (high - threshold + 1u) / 2u;
      if (number_from(middle, row, lane) >= step.top_k) { threshold = middle; } else { high = middle - 1u; }
    }
  }
  if (step.top_p < 1.0) {
    let enough = step.top_p * mass_from(threshold, row, largest, lane);
    var high = top_key;
    while (threshold < high) {
      let middle = threshold + (high - threshold + 1u) / 2u;
      if (mass_from(middle, row, largest, lane) >= enough) { threshold = middle; } else { high = middle - 1u; }
    }
  }

  let run = (vocabulary + LANES - 1u) / LANES;
  let end = min((lane + 1u) * run, vocabulary);
  var mass = 0.0;
  for (var id = lane * run; id < end; id++) {
    let logit = logits[row + id];
    if (key_of(logit) >= threshold) { mass += weight_of(logit, largest); }
  }
  workgroupBarrier();
  sums[lane] = mass;
  workgroupBarrier();
  var total = 0.0;
  var before = 0.0;
  for (var i = 0u; i < LANES; i++) {
    if (i == lane) { before = total; }
    total += sums[i];
  }
  // The lane in whose run the draw falls walks it; `total` grows as `before` does, so that exactly one does.
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
