import { MixtabError } from "../base/errors.ts";
import { quote } from "../base/quote.ts";
import type { Architecture, Model } from "./architecture.ts";
import { Config } from "./config.ts";
import { ernie45Moe } from "./ernie4_5_moe.ts";
import { gemma3Text } from "./gemma3_text.ts";
import { gptOss } from "./gpt_oss.ts";
import { graniteMoe } from "./granitemoe.ts";
import { lfm2Moe } from "./lfm2_moe.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { mixtral } from "./mixtral.ts";
import { olmoe } from "./olmoe.ts";
import { phiMoe } from "./phimoe.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen2Moe } from "./qwen2_moe.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen3Moe } from "./qwen3_moe.ts";

/** Every architecture mixtab knows, by config.json's model_type. */
export const architectures: readonly Architecture[] = [
  mixtral,
  mistral,
  llama,
  qwen2,
  qwen2Moe,
  qwen3,
  qwen3Moe,
  olmoe,
  graniteMoe,
  gptOss,
  phiMoe,
  lfm2Moe,
  ernie45Moe,
  gemma3Text,
];

/**
 * What config.json describes; of one that is of text and images, the part for text. Errors:
 * unsupported-model, bad-config.
 */
export function readModel(json: unknown): Model & Pick<Architecture, "modelType"> {
  const whole = new Config(json);
  const text = whole.section("text_config");
  // What the part leaves out may stand beside it: `tie_word_embeddings`, `vocab_size`.
  const config = new Config({ ...whole.json, ...text.json });
  const type =
    text.json.model_type ?? (whole.json.text_config == null ? whole.json.model_type : `${whole.json.model_type}_text`);
  const architecture = architectures.find(({ modelType }) => modelType === type);
  if (architecture) return { modelType: architecture.modelType, ...architecture.read(config) };
  const known = architectures.map(({ modelType }) => modelType).join(", ");
  throw new MixtabError("unsupported-model", `model_type is ${quote(type)}; mixtab runs: ${known}.`);
}
