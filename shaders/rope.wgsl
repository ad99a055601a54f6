// (y_i, y_i+C/2) = (x_i, x_i+C/2) rotated by the angle p θ_i in each head, where p is the position
// of the token. Each lane rotates one pair.
override width: u32;       // heads * C
override head_width: u32;  // C
override offset: u32;

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T, heads * C]
@group(1) @binding(1) var<storage, read> table: array<f32>;    // [positions, C]: cos(p θ), then sin(p θ); from word `offset` on
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [T, heads * C]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let t = id.y;
  if (t >= rows() || id.x >= width / 2u) { return; }
  let half = head_width / 2u;
  let i = id.x % half;
  let at = t * width + id.x / half * head_width + i;
  let row = offset + (step.position + t) * head_width;
  let a = x[at];
  let b = x[at + half];
  let c = table[row + i];
  let s = table[row + half + i];
  y[at] = a * c - b * s;
  y[at + half] = b * c + a * s;
}
