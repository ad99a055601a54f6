// Where a step's tokens go: sections of one buffer of words, as kernels/routes.ts lays them out. A
// pair is t * A + rank.
override experts: u32;  // E
override top: u32;      // A

const MAX_TOKENS = 256u;
const TILE = 32u;  // pairs of one expert that are computed together

// The page of expert e in this pass, or NONE; its first word there; whether it was served in this
// pass or before.
fn page_at(e: u32) -> u32 { return e; }
fn base_at(e: u32) -> u32 { return experts + e; }
fn done_at(e: u32) -> u32 { return 2u * experts + e; }
// Where the pairs of e begin in `order`; E + 1 of them.
fn start_at(e: u32) -> u32 { return 3u * experts + e; }
// How many tiles there are; tile i: its expert, and where it begins in `order`.
fn tiles_at() -> u32 { return 4u * experts + 1u; }
fn tile_at(i: u32) -> u32 { return 4u * experts + 2u + 2u * i; }
fn max_tiles() -> u32 { return MAX_TOKENS / TILE * top + experts; }
// The expert of a pair; its weight, an f32; the pairs, sorted by expert.
fn chosen_at(pair: u32) -> u32 { return tile_at(max_tiles()) + pair; }
fn weight_at(pair: u32) -> u32 { return chosen_at(MAX_TOKENS * top) + pair; }
fn order_at(i: u32) -> u32 { return weight_at(MAX_TOKENS * top) + i; }
