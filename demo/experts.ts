import type { ModelInfo } from "../src/index.ts";

/**
 * Experts of all layers together. Not layers times experts: some models begin with dense layers.
 */
export const allExperts = ({ expertBytes, recordBytes }: Pick<ModelInfo, "expertBytes" | "recordBytes">): number =>
  recordBytes > 0 ? Math.ceil(expertBytes / recordBytes) : 0;
