// y[t, h] = weight * x[t, h] / sqrt(mean(x[t, h]²) + eps). One workgroup per token t and run h of D
// numbers, which is the whole row or one of its heads.
struct Numbers {
  width: u32,
  offset: u32,
  share: f32,  // 1 / width
  eps: f32,
}

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T, n * D]
@group(1) @binding(1) var<storage, read> weight: array<f32>;   // [D], from word `offset` on
@group(1) @binding(2) var<storage, read_write> y: array<f32>;  // [T, n * D]
@group(1) @binding(3) var<uniform> numbers: Numbers;

var<workgroup> partial: array<f32, 128>;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let t = group.y;
  if (t >= rows()) { return; }
  let begin = (t * groups.x + group.x) * numbers.width;
  var sum = 0.0;
  for (var i = lane; i < numbers.width; i += 128u) {
    let value = x[begin + i];
    sum += value * value;
  }
  partial[lane] = sum;
  for (var stride = 64u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { partial[lane] += partial[lane + stride]; }
  }
  workgroupBarrier();
  let inverse = 1.0 / sqrt(partial[0] * numbers.share + numbers.eps);
  for (var i = lane; i < numbers.width; i += 128u) {
    y[begin + i] = weight[numbers.offset + i] * (x[begin + i] * inverse);
  }
}
