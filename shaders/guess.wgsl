// set = bits of the A experts with the largest keys, ties to the lowest id: a guess at what a
// later layer will want. One workgroup; each lane is an expert.
override experts: u32;  // E
override top: u32;      // A

struct Numbers {
  guessed: u32,  // where the set begins in the report
}

@group(0) @binding(1) var<storage, read_write> report: Report;
@group(1) @binding(0) var<storage, read> keys: array<f32>;  // [1, E]: the logits, or of `score`
@group(1) @binding(1) var<uniform> numbers: Numbers;

var<workgroup> stalled: u32;
var<workgroup> key: array<f32, 256>;  // by expert
var<workgroup> bits: array<atomic<u32>, 8>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { stalled = report.stall; }
  if (workgroupUniformLoad(&stalled) != NONE) { return; }

  if (lane < experts) { key[lane] = keys[lane]; }
  workgroupBarrier();
  if (lane < experts) {
    var rank = 0u;
    for (var e = 0u; e < experts; e++) {
      rank += u32(key[e] > key[lane] || (key[e] == key[lane] && e < lane));
    }
    if (rank < top) { atomicOr(&bits[lane / 32u], 1u << (lane % 32u)); }
  }
  workgroupBarrier();
  if (lane < (experts + 31u) / 32u) { report.sets[numbers.guessed + lane] = atomicLoad(&bits[lane]); }
}
