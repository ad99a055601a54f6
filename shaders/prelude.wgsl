// What every kernel can read: the step, written before each submission, and the state, which
// outlives it. gpu/state_words.ts lays both out.
const NONE = 0xffffffffu;
const LOWEST = -3.4e38;

struct Step {
  position: u32,  // token t sits at position + t
  count: u32,     // T
  marked: u32,    // how many last tokens enter `wanted`
  sampled: u32,   // 1: the token is the id that the step before left in the state
  samples: u32,   // 1: an id is drawn; 0: what follows `last_row` returns early
  top_k: u32,
  temperature: f32,
  top_p: f32,
  seed: u32,
  tokens: array<vec4<u32>, 64>,
}

struct State {
  stall: u32,     // the MoE layer that misses experts, or NONE
  token: u32,     // the id drawn last
  finite: u32,    // 1: the logits sampled from were finite
  unused: u32,
}

// The state with its sets, for kernels that write it: they bind it as a storage buffer.
struct Report {
  stall: u32,
  token: u32,
  finite: u32,
  unused: u32,
  pending: array<u32, 8>,  // bits per expert of the stalled layer
  sets: array<u32>,        // bits per expert: the experts that each layer wants, and the guesses
}

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<uniform> state: State;

// Whether the kernel's tensors hold only one row, that of the last token. It exists only in steps
// that sample.
override last: bool = false;

// How many rows the kernel computes: none while a layer is stalled.
fn rows() -> u32 {
  if (state.stall != NONE) { return 0u; }
  if (last) { return step.samples; }
  return step.count;
}
