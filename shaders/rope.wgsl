// The first `turned` channels of each head, two by two, rotated by the angle p θ_i, where p is the
// position of the token; the others as they are. Each lane makes two channels.
struct Numbers {
  width: u32,       // heads * C
  head_width: u32,  // C
  turned: u32,      // R
  offset: u32,      // of the table, in words
  step: u32,        // pair i begins at channel step * i: 1, or 2 if pairs are adjacent
  apart: u32,       // and ends so much further: R / 2, or 1
}

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T, heads * C]
@group(1) @binding(1) var<storage, read> table: array<f32>;    // [positions, R]: cos(p θ), then sin(p θ)
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [T, heads * C]
@group(1) @binding(3) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let t = id.y;
  if (t >= rows() || id.x >= numbers.width / 2u) { return; }
  let pairs = numbers.head_width / 2u;
  let i = id.x % pairs;
  let head = t * numbers.width + id.x / pairs * numbers.head_width;
  let half = numbers.turned / 2u;
  if (i >= half) {
    let at = head + 2u * i;
    y[at] = x[at];
    y[at + 1u] = x[at + 1u];
    return;
  }
  let at = head + numbers.step * i;
  let row = numbers.offset + (step.position + t) * numbers.turned;
  let a = x[at];
  let b = x[at + numbers.apart];
  let c = table[row + i];
  let s = table[row + half + i];
  y[at] = a * c - b * s;
  y[at + numbers.apart] = b * c + a * s;
}
