// y[t] = Σ_r weight[t, r] * x[t * A + r], in rank order.
struct Numbers {
  width: u32,
}

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T * A, D]
@group(1) @binding(1) var<storage, read> routes: array<u32>;   // see routes.wgsl
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [T, D]
@group(1) @binding(3) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= rows() || id.x >= numbers.width) { return; }
  var sum = 0.0;
  for (var pair = id.y * top; pair < (id.y + 1u) * top; pair++) {
    sum += bitcast<f32>(routes[weight_at(pair)]) * x[pair * numbers.width + id.x];
  }
  y[id.y * numbers.width + id.x] = sum;
}
