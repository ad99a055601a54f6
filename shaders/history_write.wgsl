// history[p % ring] = x[t], where p is the position of token t.
struct Numbers {
  width: u32,
  ring: u32,
}

@group(1) @binding(0) var<storage, read> x: array<f32>;              // [T, D]
@group(1) @binding(1) var<storage, read_write> history: array<f32>;  // [ring, D]
@group(1) @binding(2) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= rows() || id.x >= numbers.width) { return; }
  history[(step.position + id.y) % numbers.ring * numbers.width + id.x] = x[id.y * numbers.width + id.x];
}
