// chosen[t] = the A largest of keys[t], ties to the lowest id, with weights as weigh.wgsl says.
// Then the pairs are sorted by expert (counting sort, token order kept). One workgroup; each lane
// is first a token, then an expert.

@group(0) @binding(1) var<storage, read_write> report: Report;
@group(1) @binding(0) var<storage, read> keys: array<f32>;          // [T, E]: the logits, or of `score`
@group(1) @binding(1) var<storage, read> shares: array<f32>;        // [T, E]: of `score`, if rule is GIVEN
@group(1) @binding(2) var<storage, read> own: array<f32>;           // [E]: a factor of each expert, if has_own
@group(1) @binding(3) var<storage, read_write> routes: array<u32>;  // see routes.wgsl
@group(1) @binding(4) var<uniform> numbers: Numbers;

var<workgroup> stalled: u32;
var<workgroup> pairs: array<atomic<u32>, 256>;   // of each expert
var<workgroup> begin: array<u32, 257>;           // of each expert, in `order`
var<workgroup> first_tile: array<u32, 257>;
var<workgroup> marked: array<atomic<u32>, 8>;    // bits per expert

// The expert that comes next after (key, id) when experts are ordered by falling key, then by
// rising id; for rank 0 the very first. If there is none, expert `rank` is taken: with NaN among
// the keys no comparison holds, and so ids stay within bounds and the step comes to its end.
fn next_best(row: u32, key: f32, id: u32, rank: u32) -> u32 {
  var best = NONE;
  var most = LOWEST;
  for (var e = 0u; e < experts; e++) {
    let k = keys[row + e];
    let after = rank == 0u || k < key || (k == key && e > id);
    if (after && (k > most || best == NONE)) {
      best = e;
      most = k;
    }
  }
  return select(best, rank, best == NONE);
}

fn choose(t: u32) {
  let row = t * experts;
  var key = 0.0;
  var id = 0u;
  var largest = 0.0;
  var kept = 0.0;
  for (var rank = 0u; rank < top; rank++) {
    id = next_best(row, key, id, rank);
    key = keys[row + id];
    if (rank == 0u) { largest = key; }
    var part = 1.0;
    if (rule == SOFTMAX) { part = exp(key - largest); }
    if (rule == GIVEN) { part = shares[row + id]; }
    if (rule == SPARSEMIXER) {
      var sum = 0.0;
      for (var e = 0u; e < experts; e++) { sum += near(keys[row + e], e, key, id); }
      part = 1.0 / sum;
    }
    kept += part;
    routes[chosen_at(t * top + rank)] = id;
    routes[weight_at(t * top + rank)] = bitcast<u32>(part);
    atomicAdd(&pairs[id], 1u);
    if (t + step.marked >= step.count) { atomicOr(&marked[id / 32u], 1u << (id % 32u)); }
  }
  if (rule == GIVEN && renormalise) { kept += numbers.epsilon; }
  if (rule == SPARSEMIXER || (rule == GIVEN && !renormalise)) { kept = 1.0; }
  if (rule == SOFTMAX && !renormalise) {
    kept = 0.0;
    for (var e = 0u; e < experts; e++) { kept += exp(keys[row + e] - largest); }
  }
  for (var rank = 0u; rank < top; rank++) {
    let at = weight_at(t * top + rank);
    routes[at] = bitcast<u32>(weighed(bitcast<f32>(routes[at]) / kept, routes[chosen_at(t * top + rank)]));
  }
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { stalled = report.stall; }
  if (workgroupUniformLoad(&stalled) != NONE) { return; }

  if (lane < step.count) { choose(lane); }
  storageBarrier();
  workgroupBarrier();

  if (lane == 0u) {
    var pair = 0u;
    var tile = 0u;
    for (var e = 0u; e < experts; e++) {
      begin[e] = pair;
      first_tile[e] = tile;
      let count = atomicLoad(&pairs[e]);
      pair += count;
      tile += (count + TILE - 1u) / TILE;
    }
    begin[experts] = pair;
    first_tile[experts] = tile;
    routes[start_at(experts)] = pair;
    routes[tiles_at()] = tile;
  }
  workgroupBarrier();

  if (lane < (experts + 31u) / 32u) { report.sets[numbers.wanted + lane] = atomicLoad(&marked[lane]); }
  if (lane >= experts) { return; }
  routes[start_at(lane)] = begin[lane];
  routes[done_at(lane)] = 0u;
  for (var tile = first_tile[lane]; tile < first_tile[lane + 1u]; tile++) {
    routes[tile_at(tile)] = lane;
    routes[tile_at(tile) + 1u] = begin[lane] + (tile - first_tile[lane]) * TILE;
  }
  var next = begin[lane];
  for (var pair = 0u; next < begin[lane + 1u]; pair++) {
    if (routes[chosen_at(pair)] == lane) {
      routes[order_at(next)] = pair;
      next++;
    }
  }
}
