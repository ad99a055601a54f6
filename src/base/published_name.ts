/**
 * One way a matrix may be published. Its tensors are `<module>.weight`, and where it is quantised
 * `<module>.scales` and `<module>.biases`.
 */
export interface PublishedName {
  readonly module: string;
  /**
   * The tensor's name is `module` alone, without `.weight`. Example: the fused
   * `mlp.experts.gate_up_proj` of transformers 5.
   */
  readonly bare?: boolean;
  /**
   * The tensors are `<module>_blocks` and `<module>_scales`, of u8: MXFP4 as gpt-oss is published.
   * Blocks are [..., rows, columns / 32, 16], scales [..., rows, columns / 32].
   */
  readonly blocks?: boolean;
  /**
   * The tensor is a stack of matrices [E, rows, columns], and this is the index of the matrix in
   * it.
   */
  readonly stack?: number;
  /**
   * The tensor holds two matrices of `rows` rows each, one above the other, and the matrix begins
   * at this row of it: 0 for the upper one, `rows` for the lower one. Example: `gate_up_proj` holds
   * w1 above w3.
   */
  readonly firstRow?: number;
  /** How many rows such a tensor has, where it holds more than two matrices. */
  readonly ofRows?: number;
  /**
   * The tensor holds two matrices of `rows` rows each, whose rows alternate, and the matrix's first
   * is this one. Example: gpt-oss has w1 in the even rows of `gate_up_proj`, w3 in the odd ones.
   */
  readonly everySecond?: 0 | 1;
  /**
   * The tensor holds columns for rows, so [columns, rows], and `everySecond` counts its columns.
   * Only floats, without `firstRow`.
   */
  readonly transposed?: boolean;
}

/**
 * A tensor's or module's name as a model of text alone has it. Models of text and images publish
 * the part for text below `language_model.` or `model.language_model.`.
 */
export function textName(name: string): string {
  const rest = name.replace(/^(?:model\.)?language_model\.(?:model\.)?/, "");
  return rest === name || rest.startsWith("lm_head.") || rest === "lm_head" ? rest : `model.${rest}`;
}
