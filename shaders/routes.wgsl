// The routes of a step's tokens: sections of one buffer of words, as kernels/routes.ts lays them
// out. A pair is t * A + rank.
override experts: u32;  // E
override top: u32;      // A

const MAX_TOKENS = 256u;
const TILE = 32u;  // pairs of one expert that are computed together

// Of expert e: its page in this pass, or NONE; the first word of its slot in that page; 1 if it was
// served in this pass or an earlier one.
fn page_at(e: u32) -> u32 { return e; }
fn base_at(e: u32) -> u32 { return experts + e; }
fn done_at(e: u32) -> u32 { return 2u * experts + e; }
// Where the pairs of expert e begin in `order`. There are E + 1 of these; the last says where all
// end.
fn start_at(e: u32) -> u32 { return 3u * experts + e; }
// The number of tiles. Of tile i: its expert, and in the next word where the tile begins in
// `order`.
fn tiles_at() -> u32 { return 4u * experts + 1u; }
fn tile_at(i: u32) -> u32 { return 4u * experts + 2u + 2u * i; }
fn max_tiles() -> u32 { return MAX_TOKENS / TILE * top + experts; }
// Of a pair: its expert, and its weight (an f32). Then `order`: the pairs, sorted by expert.
fn chosen_at(pair: u32) -> u32 { return tile_at(max_tiles()) + pair; }
fn weight_at(pair: u32) -> u32 { return chosen_at(MAX_TOKENS * top) + pair; }
fn order_at(i: u32) -> u32 { return weight_at(MAX_TOKENS * top) + i; }
