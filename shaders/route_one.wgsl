// chosen = the A largest of keys, ties to the lowest id, with weights as weigh.wgsl says. For one
// token, whose pairs need no sorting. One workgroup; each lane is an expert, whose rank is the
// number of experts that come before it.

@group(0) @binding(1) var<storage, read_write> report: Report;
@group(1) @binding(0) var<storage, read> keys: array<f32>;          // [1, E]: the logits, or of `score`
@group(1) @binding(1) var<storage, read> shares: array<f32>;        // [1, E]: of `score`, if rule is GIVEN
@group(1) @binding(2) var<storage, read> own: array<f32>;           // [E]: a factor of each expert, if has_own
@group(1) @binding(3) var<storage, read_write> routes: array<u32>;  // see routes.wgsl
@group(1) @binding(4) var<uniform> numbers: Numbers;

var<workgroup> stalled: u32;
var<workgroup> key: array<f32, 256>;     // by expert
var<workgroup> chosen: array<u32, 256>;  // by rank

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { stalled = report.stall; }
  if (workgroupUniformLoad(&stalled) != NONE) { return; }

  if (lane < experts) { key[lane] = keys[lane]; }
  workgroupBarrier();
  if (lane < experts) {
    var rank = 0u;
    for (var e = 0u; e < experts; e++) {
      rank += u32(comes_before(key[e], e, key[lane], lane));
    }
    if (rank < top) { chosen[rank] = lane; }
  }
  workgroupBarrier();
  if (lane >= experts) { return; }

  // `before`: how many pairs belong to experts with a lower id than this one.
  var before = 0u;
  for (var rank = 0u; rank < top; rank++) { before += u32(chosen[rank] < lane); }
  routes[start_at(lane)] = before;
  routes[done_at(lane)] = 0u;
  if (lane == 0u) { routes[start_at(experts)] = top; }

  if (lane < (experts + 31u) / 32u) {
    var bits = 0u;
    for (var rank = 0u; rank < top; rank++) {
      if (chosen[rank] / 32u == lane) { bits |= 1u << (chosen[rank] % 32u); }
    }
    report.sets[numbers.wanted + lane] = select(bits, 0u, step.marked == 0u);
  }

  if (lane >= top) { return; }
  let id = chosen[lane];
  let largest = key[chosen[0]];
  var part = 1.0;
  var sum = 1.0;
  if (rule == GIVEN) {
    part = shares[id];
    if (renormalise) {
      sum = 0.0;
      for (var rank = 0u; rank < top; rank++) { sum += shares[chosen[rank]]; }
      sum += numbers.epsilon;
    }
  } else if (rule == SPARSEMIXER) {
    sum = 0.0;
    for (var e = 0u; e < experts; e++) { sum += near(key[e], e, key[id], id); }
  } else {
    part = exp(key[id] - largest);
    sum = 0.0;
    if (renormalise) {
      for (var rank = 0u; rank < top; rank++) { sum += exp(key[chosen[rank]] - largest); }
    } else {
      for (var e = 0u; e < experts; e++) { sum += exp(key[e] - largest); }
    }
  }
  routes[chosen_at(lane)] = id;
  routes[weight_at(lane)] = bitcast<u32>(weighed(part / sum, id));
}
