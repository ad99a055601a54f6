// keys[p % ring] = k[t], values[p % ring] = v[t], where p is the position of token t. Each lane
// writes one number of both.
struct Numbers {
  width: u32,  // K * C
  ring: u32,
}

@group(1) @binding(0) var<storage, read> k: array<f32>;             // [T, K * C]
@group(1) @binding(1) var<storage, read> v: array<f32>;             // [T, K * C]
@group(1) @binding(2) var<storage, read_write> keys: array<f32>;    // [ring, K * C]
@group(1) @binding(3) var<storage, read_write> values: array<f32>;  // [ring, K * C]
@group(1) @binding(4) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let t = id.y;
  if (t >= rows() || id.x >= numbers.width) { return; }
  let at = (step.position + t) % numbers.ring * numbers.width + id.x;
  keys[at] = k[t * numbers.width + id.x];
  values[at] = v[t * numbers.width + id.x];
}
