// y[t] = weight * x[t] / sqrt(mean(x[t]²) + eps). One workgroup per token.
override width: u32;
override offset: u32;
override eps: f32;

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T, D]
@group(1) @binding(1) var<storage, read> weight: array<f32>;   // [D], from word `offset` on
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [T, D]

var<workgroup> partial: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let t = group.y;
  if (t >= rows()) { return; }
  var sum = 0.0;
  for (var i = lane; i < width; i += 128u) {
    let value = x[t * width + i];
    sum += value * value;
  }
  partial[lane] = sum;
  for (var stride = 64u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { partial[lane] += partial[lane + stride]; }
  }
  workgroupBarrier();
  let inverse = 1.0 / sqrt(partial[0] / f32(width) + eps);
  for (var i = lane; i < width; i += 128u) {
    y[t * width + i] = weight[offset + i] * (x[t * width + i] * inverse);
  }
}
