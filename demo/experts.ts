import type { ModelInfo } from "../src/index.ts";

/**
 * The number of experts in all layers together. That is not layers times experts, since some models
 * begin with dense layers.
 */
export const allExperts = ({ expertBytes, recordBytes }: Pick<ModelInfo, "expertBytes" | "recordBytes">): number =>
  recordBytes > 0 ? Math.ceil(expertBytes / recordBytes) : 0;
