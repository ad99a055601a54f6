// The expert pool's memory: up to four buffers, cut into slots. `page` and `base` say which slot
// `word` reads.
@group(1) @binding(0) var<storage, read> page_0: array<u32>;  // [slots, words of a slot]
@group(1) @binding(1) var<storage, read> page_1: array<u32>;
@group(1) @binding(2) var<storage, read> page_2: array<u32>;
@group(1) @binding(3) var<storage, read> page_3: array<u32>;

var<private> page: u32;
var<private> base: u32;

fn word(at: u32) -> u32 {
  switch (page) {
    case 0u: { return page_0[base + at]; }
    case 1u: { return page_1[base + at]; }
    case 2u: { return page_2[base + at]; }
    default: { return page_3[base + at]; }
  }
}
