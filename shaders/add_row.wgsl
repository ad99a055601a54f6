// y[t] = x[t] + bias.
struct Numbers {
  width: u32,
  offset: u32,  // of bias, in words
}

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T, D]
@group(1) @binding(1) var<storage, read> bias: array<f32>;     // [D]
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [T, D]
@group(1) @binding(3) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= rows() || id.x >= numbers.width) { return; }
  let at = id.y * numbers.width + id.x;
  y[at] = x[at] + bias[numbers.offset + id.x];
}
