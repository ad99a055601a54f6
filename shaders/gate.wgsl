// y = silu(gate) * up, elementwise; silu(z) = z / (1 + exp(-z)).
override width: u32;

@group(1) @binding(0) var<storage, read> gate: array<f32>;     // [T, F]
@group(1) @binding(1) var<storage, read> up: array<f32>;       // [T, F]
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [T, F]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= rows() || id.x >= width) { return; }
  let at = id.y * width + id.x;
  y[at] = silu(vec4(gate[at])).x * up[at];
}
