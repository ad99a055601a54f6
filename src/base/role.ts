/** What a matrix is for, which decides how much it may lose. */
export type Role =
  /** A matrix of a routed expert. */
  | "expert"
  /** A projection of attention, of a shared expert, or another that is always used. */
  | "linear"
  /** A matrix of a dense feed-forward layer. */
  | "feedForward"
  | "embedding"
  /** The last projection, to logits, where it is not tied to the embedding. */
  | "head"
  | "router"
  /** Vectors, which are only ever widened. */
  | "norm";
