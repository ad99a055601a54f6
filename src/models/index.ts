import { MixtabError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import type { Architecture, Model } from "./architecture.ts";
import { Config } from "./config.ts";
import { mistral } from "./mistral.ts";
import { mixtral } from "./mixtral.ts";
import { olmoe } from "./olmoe.ts";
import { qwen3Moe } from "./qwen3_moe.ts";

/** Every architecture mixtab knows, by config.json's model_type. */
export const architectures: readonly Architecture[] = [mixtral, mistral, qwen3Moe, olmoe];

/** What config.json describes. Errors: unsupported-model, bad-config. */
export function readModel(json: unknown): Model & Pick<Architecture, "modelType"> {
  const config = new Config(json);
  const type = config.json.model_type;
  const architecture = architectures.find(({ modelType }) => modelType === type);
  if (architecture) return { modelType: architecture.modelType, ...architecture.read(config) };
  const known = architectures.map(({ modelType }) => modelType).join(", ");
  throw new MixtabError("unsupported-model", `model_type is ${quote(type)}; mixtab runs: ${known}.`);
}
