// y = cap * tanh(x / cap).
struct Numbers {
  width: u32,
  cap: f32,
}

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T, D]
@group(1) @binding(1) var<storage, read_write> y: array<f32>;  // [T, D]
@group(1) @binding(2) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= rows() || id.x >= numbers.width) { return; }
  let at = id.y * numbers.width + id.x;
  // tanh may overflow in the middle of its formula; beyond 10 it is 1.
  y[at] = numbers.cap * tanh(clamp(x[at] / numbers.cap, -10.0, 10.0));
}
