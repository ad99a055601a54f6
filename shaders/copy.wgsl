// y = x, words of any type: the copy that a tap keeps.
override width: u32;
override offset: u32;

@group(1) @binding(0) var<storage, read> x: array<u32>;        // [T, width], from word `offset` on
@group(1) @binding(1) var<storage, read_write> y: array<u32>;  // [T, width]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.y >= rows() || id.x >= width) { return; }
  let at = id.y * width + id.x;
  y[at] = x[offset + at];
}
