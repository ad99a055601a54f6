// chosen = the A largest of logits, ties to the lowest id; weight = softmax(logits) at these,
// divided by the sum of the chosen if `renormalise`. For one token, whose pairs need no sorting.
// One workgroup; each lane is an expert, whose rank is the number of experts that come before it.
override renormalise: bool;
override wanted: u32;  // the word of the report's sets where the layer's begins

@group(0) @binding(1) var<storage, read_write> report: Report;
@group(1) @binding(0) var<storage, read> logits: array<f32>;        // [1, E]
@group(1) @binding(1) var<storage, read_write> routes: array<u32>;  // see routes.wgsl

var<workgroup> stalled: u32;
var<workgroup> logit: array<f32, 256>;  // by expert
var<workgroup> chosen: array<u32, 256>; // by rank

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { stalled = report.stall; }
  if (workgroupUniformLoad(&stalled) != NONE) { return; }

  if (lane < experts) { logit[lane] = logits[lane]; }
  workgroupBarrier();
  if (lane < experts) {
    var rank = 0u;
    for (var e = 0u; e < experts; e++) {
      rank += u32(logit[e] > logit[lane] || (logit[e] == logit[lane] && e < lane));
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
    report.sets[wanted + lane] = select(bits, 0u, step.marked == 0u);
  }

  if (lane >= top) { return; }
  let largest = logit[chosen[0]];
  var sum = 0.0;
  if (renormalise) {
    for (var rank = 0u; rank < top; rank++) { sum += exp(logit[chosen[rank]] - largest); }
  } else {
    for (var e = 0u; e < experts; e++) { sum += exp(logit[e] - largest); }
  }
  routes[chosen_at(lane)] = chosen[lane];
  routes[weight_at(lane)] = bitcast<u32>(exp(logit[chosen[lane]] - largest) / sum);
}
