// y[t] = weight * (x[t] - mean) / sqrt(variance + eps) + bias, mean and variance of x[t]. One
// workgroup per token.
struct Numbers {
  width: u32,
  offset: u32,  // of weight, in words
  shift: u32,   // of bias
  share: f32,   // 1 / width
  eps: f32,
}

@group(1) @binding(0) var<storage, read> x: array<f32>;        // [T, D]
@group(1) @binding(1) var<storage, read> weight: array<f32>;   // [D]
@group(1) @binding(2) var<storage, read> bias: array<f32>;     // [D]
@group(1) @binding(3) var<storage, read_write> y: array<f32>;  // [T, D]
@group(1) @binding(4) var<uniform> numbers: Numbers;

var<workgroup> partial: array<f32, 128>;

fn total(value: f32, lane: u32) -> f32 {
  workgroupBarrier();
  partial[lane] = value;
  for (var stride = 64u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { partial[lane] += partial[lane + stride]; }
  }
  workgroupBarrier();
  return partial[0];
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let t = group.y;
  if (t >= rows()) { return; }
  let begin = t * numbers.width;
  var sum = 0.0;
  for (var i = lane; i < numbers.width; i += 128u) { sum += x[begin + i]; }
  let mean = total(sum, lane) * numbers.share;
  var squares = 0.0;
  for (var i = lane; i < numbers.width; i += 128u) {
    let value = x[begin + i] - mean;
    squares += value * value;
  }
  let inverse = 1.0 / sqrt(total(squares, lane) * numbers.share + numbers.eps);
  for (var i = lane; i < numbers.width; i += 128u) {
    y[begin + i] = weight[numbers.offset + i] * ((x[begin + i] - mean) * inverse) + bias[numbers.shift + i];
  }
}
