// y = x[T - 1]; only in steps that sample.
struct Numbers {
  width: u32,
}

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T, D]
@group(1) @binding(1) var<storage, read_write> y: array<f32>;  // [1, D]
@group(1) @binding(2) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (rows() == 0u || step.samples == 0u || id.x >= numbers.width) { return; }
  y[id.x] = x[(step.count - 1u) * numbers.width + id.x];
}
