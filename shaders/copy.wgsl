// y = x, words of any type: the copy that a tap keeps.
struct Numbers {
  width: u32,
  offset: u32,
}

@group(1) @binding(0) var<storage, read> x: array<u32>;        // [T, width], from word `offset` on
@group(1) @binding(1) var<storage, read_write> y: array<u32>;  // [T, width]
@group(1) @binding(2) var<uniform> numbers: Numbers;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= rows() || id.x >= numbers.width) { return; }
  let at = id.y * numbers.width + id.x;
  y[at] = x[numbers.offset + at];
}
