// page[e], base[e] = where expert e lies, if a token chose it, it is not done yet, and e owns the
// slot that the table names; else page[e] = NONE. An expert that is chosen, not done and not found
// becomes pending, and the layer stalls. While another layer is stalled, page[e] = NONE for all e.
// One workgroup; each lane is an expert.
struct Numbers {
  layer: u32,
  layers: u32,
  stride: u32,  // how many places each layer has in the table: the E of the largest
}

@group(0) @binding(1) var<storage, read_write> report: Report;
@group(1) @binding(0) var<storage, read> directory: array<u32>;     // slots, slots per page, words per slot, 0, table [L, stride], owner [slots]
@group(1) @binding(1) var<storage, read_write> routes: array<u32>;  // see routes.wgsl
@group(1) @binding(2) var<uniform> numbers: Numbers;

var<workgroup> stalled: u32;
var<workgroup> missing: atomic<u32>;
var<workgroup> pending: array<atomic<u32>, 8>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { stalled = report.stall; }
  let off = workgroupUniformLoad(&stalled) != NONE;
  if (lane < experts) {
    routes[page_at(lane)] = NONE;
    let chosen = routes[start_at(lane + 1u)] > routes[start_at(lane)];
    if (!off && chosen && routes[done_at(lane)] == 0u) {
      let owner = numbers.layer * numbers.stride + lane;
      let slot = directory[4u + owner];
      if (slot < directory[0] && directory[4u + numbers.layers * numbers.stride + slot] == owner) {
        routes[page_at(lane)] = slot / directory[1];
        routes[base_at(lane)] = slot % directory[1] * directory[2];
        routes[done_at(lane)] = 1u;
      } else {
        atomicOr(&pending[lane / 32u], 1u << (lane % 32u));
        atomicStore(&missing, 1u);
      }
    }
  }
  workgroupBarrier();
  if (atomicLoad(&missing) == 0u) { return; }
  if (lane == 0u) { report.stall = numbers.layer; }
  if (lane < 8u) { report.pending[lane] = atomicLoad(&pending[lane]); }
}
