// set = bits of the A experts with the largest logits, ties to the lowest id: a guess at what a
// later layer will want. One workgroup; each lane is an expert.
override experts: u32;  // E
override top: u32;      // A
override guessed: u32;  // where the set begins in the report

@group(0) @binding(1) var<storage, read_write> report: Report;
@group(1) @binding(0) var<storage, read> logits: array<f32>;  // [1, E]

var<workgroup> stalled: u32;
var<workgroup> logit: array<f32, 256>;        // by expert
var<workgroup> bits: array<atomic<u32>, 8>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { stalled = report.stall; }
  if (workgroupUniformLoad(&stalled) != NONE) { return; }

  if (lane < experts) { logit[lane] = logits[lane]; }
  workgroupBarrier();
  if (lane < experts) {
    var rank = 0u;
    for (var e = 0u; e < experts; e++) {
      rank += u32(logit[e] > logit[lane] || (logit[e] == logit[lane] && e < lane));
    }
    if (rank < top) { atomicOr(&bits[lane / 32u], 1u << (lane % 32u)); }
  }
  workgroupBarrier();
  if (lane < (experts + 31u) / 32u) { report.sets[guessed + lane] = atomicLoad(&bits[lane]); }
}
