// y[t, c] = Σ_j w[c, j] x[p - n + 1 + j, c], where p is the position of token t: each channel over
// its last n tokens, oldest first. What lies before position 0 counts as zero.
struct Numbers {
  width: u32,
  ring: u32,
  taps: u32,    // n
  offset: u32,  // of w, in words
}

@group(1) @binding(0) var<storage, read> history: array<f32>;  // [ring, D], the step's own rows among them
@group(1) @binding(1) var<storage, read> w: array<f32>;        // [D, n]
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [T, D]
@group(1) @binding(3) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= rows() || id.x >= numbers.width) { return; }
  let end = step.position + id.y + 1u;  // one past the last position
  var sum = 0.0;
  for (var j = numbers.taps - min(numbers.taps, end); j < numbers.taps; j++) {
    let at = (end + j - numbers.taps) % numbers.ring * numbers.width + id.x;
    sum += w[numbers.offset + id.x * numbers.taps + j] * history[at];
  }
  y[id.y * numbers.width + id.x] = sum;
}
