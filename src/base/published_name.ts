/**
 * One way a matrix may be published. Its tensors are `<module>.weight`, and where it is quantised
 * `<module>.scales` and `<module>.biases`.
 */
export interface PublishedName {
  readonly module: string;
  /** The tensor is called just `module` (transformers 5's fused `mlp.experts.gate_up_proj`). */
  readonly bare?: boolean;
  /** The matrix is one of a stack: index into the leading dimension of [E, rows, columns]. */
  readonly stack?: number;
  /**
   * The tensor is two matrices of the same height, one above the other, and this one begins at
   * that row: 0, or `rows`.
   */
  readonly firstRow?: number;
}
