// y = f(gate, up), as `Activation` in ops.ts has it.
override activation: u32;  // see kernels/activation.ts
override alpha: f32;       // of CLAMPED_SWIGLU
override limit: f32;

const SILU = 0u;
const GELU = 1u;
const SIGMOID = 2u;
const IDENTITY = 3u;
const CLAMPED_SWIGLU = 4u;

fn sigmoid_of(z: vec4<f32>) -> vec4<f32> {
  return 1.0 / (1.0 + exp(min(-z, vec4(80.0))));
}

fn silu(z: vec4<f32>) -> vec4<f32> {
  return z / (1.0 + exp(min(-z, vec4(80.0))));
}

fn gelu(z: vec4<f32>) -> vec4<f32> {
  // tanh may overflow in the middle of its formula; beyond 10 it is 1.
  let inner = 0.7978845608028654 * (z + 0.044715 * z * z * z);
  return 0.5 * z * (1.0 + tanh(clamp(inner, vec4(-10.0), vec4(10.0))));
}

fn activate(gate: vec4<f32>, up: vec4<f32>) -> vec4<f32> {
  switch (activation) {
    case SILU: { return silu(gate) * up; }
    case GELU: { return gelu(gate) * up; }
    case SIGMOID: { return sigmoid_of(gate) * up; }
    case IDENTITY: { return gate * up; }
    default: {
      let g = min(gate, vec4(limit));
      return (clamp(up, vec4(-limit), vec4(limit)) + 1.0) * g * sigmoid_of(alpha * g);
    }
  }
}
