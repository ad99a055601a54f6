// y = factor * x.
struct Numbers {
  width: u32,
  factor: f32,
}

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T, D]
@group(1) @binding(1) var<storage, read_write> y: array<f32>;  // [T, D]
@group(1) @binding(2) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= rows() || id.x >= numbers.width) { return; }
  let at = id.y * numbers.width + id.x;
  y[at] = numbers.factor * x[at];
}
