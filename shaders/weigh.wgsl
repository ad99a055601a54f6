// How an expert that was chosen is weighed: part / sum, times `scale`, times the expert's own
// factor, if it has one. By `rule`,
//   SOFTMAX: part = exp(key), summed over all experts, or over the chosen if `renormalise`;
//   GIVEN: part = share, summed over the chosen, plus epsilon, if `renormalise`, else sum = 1;
//   SPARSEMIXER: part = exp(key), summed over the experts that are `near`.
override rule: u32;  // see kernels/weigh.ts
override renormalise: bool;
override has_own: bool;

struct Numbers {
  wanted: u32,  // the word of the report's sets where the layer's begins
  offset: u32,  // of the experts' own factors, in words
  epsilon: f32,
  scale: f32,
  jitter: f32,
}

const SOFTMAX = 0u;
const GIVEN = 1u;
const SPARSEMIXER = 2u;

// Whether expert e is chosen before expert id.
fn comes_before(key: f32, e: u32, other: f32, id: u32) -> bool {
  return key > other || (key == other && e < id);
}

// What expert e adds to the sum of the sparse mixer for the expert chosen now: nothing if it was
// taken before that, or is too far below it.
fn near(key: f32, e: u32, best: f32, id: u32) -> f32 {
  let far = best - key > 2.0 * numbers.jitter * max(abs(key), best);
  return select(exp(key - best), 0.0, comes_before(key, e, best, id) || far);
}

fn weighed(share: f32, id: u32) -> f32 {
  let weight = share * numbers.scale;
  if (has_own) { return weight * own[numbers.offset + id]; }
  return weight;
}
