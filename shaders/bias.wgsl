// Adds a bias to sums of four rows. A bias is a column of plain numbers among the words of its
// expert. The shader that uses this has decode.wgsl, and says in `numbers.height` how many rows
// there are.
struct Bias {
  dtype: u32,   // NONE: there is no bias
  weight: u32,  // offset in words
  stride: u32,  // the number of row r is number first + r * stride
  first: u32,
}

// `sums` are those of rows row .. row + 4; those past the last row are not used.
fn biased(sums: vec4<f32>, b: Bias, row: u32) -> vec4<f32> {
  if (b.dtype == NONE) { return sums; }
  var own = vec4(0.0);
  for (var i = 0u; i < 4u; i++) {
    own[i] = number(b.weight, b.first + min(row + i, numbers.height - 1u) * b.stride, b.dtype);
  }
  return sums + own;
}
