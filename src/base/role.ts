/** What a matrix is used for. A recipe chooses by it in how many bits the matrix is stored. */
export type Role =
  /** A matrix of a routed expert. */
  | "expert"
  /** A projection of attention, a matrix of a shared expert, or another that every token uses. */
  | "linear"
  /** A matrix of a dense feed-forward layer. */
  | "feedForward"
  | "embedding"
  /**
   * The last projection, from hidden state to logits, if it does not share the embedding's matrix.
   */
  | "head"
  | "router"
  /** A vector, such as the weight of a norm. Vectors are only widened to f32, never quantised. */
  | "norm";
