// y[h] = Σ_i exp(largest[h, i] - L) sum[h, i] / Σ_i exp(largest[h, i] - L) total[h, i], where i
// runs over the splits of `attend_one` in order, and L is the maximum of largest[h, i]. One
// workgroup per head.
struct Numbers {
  window: u32,      // 0: none
  splits: u32,
}
override head_width: u32;  // C
override has_sinks: bool;

@group(1) @binding(0) var<storage, read> partial: array<f32>;  // [H, splits, C + 2]: sum, largest, total
@group(1) @binding(1) var<storage, read> sinks: array<f32>;    // [H], if has_sinks: a logit without a value
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [1, H * C]
@group(1) @binding(3) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  if (rows() == 0u) { return; }
  let position = step.position;
  var first = 0u;
  if (numbers.window != 0u) { first = max(position + 1u, numbers.window) - numbers.window; }
  let count = position / 256u - first / 256u + 1u;
  let width = head_width + 2u;
  let begin = group.x * numbers.splits * width;

  var largest = LOWEST;
  if (has_sinks) { largest = sinks[group.x]; }
  for (var i = 0u; i < count; i++) { largest = max(largest, partial[begin + i * width + head_width]); }
  for (var c = lane; c < head_width; c += 64u) {
    var sum = 0.0;
    var total = 0.0;
    if (has_sinks) { total = exp(sinks[group.x] - largest); }
    for (var i = 0u; i < count; i++) {
      let at = begin + i * width;
      let kept = exp(partial[at + head_width] - largest);
      sum += kept * partial[at + c];
      total += kept * partial[at + head_width + 1u];
    }
    y[group.x * head_width + c] = sum / total;
  }
}
