import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { directorySource } from "../../src/source/directory.ts";
import { openSpeaker } from "../device.ts";
import type { Kind } from "./kind.ts";
import { checkModel } from "./model_golden.ts";

/**
 * A model's folder that also has what a reference implementation computed for the model. After its
 * comparisons comes a remark: the hash of all logits.
 */
export const model: Kind = {
  looksLike: "a folder with golden.json and golden.safetensors",
  recognises: (path) => ["golden.json", "golden.safetensors"].every((file) => existsSync(join(path, file))),

  async *check(path, { device, slots, chunk }) {
    const speaker = await openSpeaker(device);
    const hash = createHash("sha256");
    try {
      const onLogits = (bytes: Uint8Array) => hash.update(bytes);
      yield* checkModel(speaker, directorySource(path), { slots, chunk, onLogits });
      yield `logits sha256 ${hash.digest("hex")}`;
    } finally {
      speaker.close();
    }
  },
};
