import { MixtabError } from "../base/errors.ts";
import { excerpt } from "../base/quote.ts";
import type { Unclaimed } from "../format/checkpoint.ts";
import type { Model } from "../models/architecture.ts";

/** Tensors that cannot change what a model of text says, by what they are. */
const HARMLESS: readonly (readonly [kind: string, name: RegExp])[] = [
  ["vision and audio", /(^|\.)(vision|visual|image|audio|multi_modal|mm|embed_vision|embed_audio)(_\w+)?(\.|$)/],
  ["multi-token prediction", /(^|\.)mtp[._]/],
  ["rotary caches", /\.rotary_emb\.(inv_freq|cos_cached|sin_cached|original_inv_freq)$/],
  ["a head that config.json ties to the embedding", /(^|\.)lm_head\.(weight|scales|biases)$/],
];

/** If tensors are refused, at most so many are named. */
const MOST_NAMED = 4;

/** Tensors that were passed over, by kind. */
export type PassedOver = ReadonlyMap<string, readonly Unclaimed[]>;

/**
 * Sorts the tensors that no part of a model asked for by their kind. Errors: unsupported-model, if
 * there are some that may change what it says: a bias, or a norm, that its architecture does not
 * have.
 */
export function passOver(unclaimed: readonly Unclaimed[], model: Pick<Model, "layers">): PassedOver {
  const kinds = new Map<string, Unclaimed[]>();
  const strange: Unclaimed[] = [];
  for (const tensor of unclaimed) {
    const kind = kindOf(tensor.name, model.layers);
    if (kind === null) strange.push(tensor);
    else kinds.set(kind, [...(kinds.get(kind) ?? []), tensor]);
  }
  if (strange.length > 0) {
    const named = strange.slice(0, MOST_NAMED).map(({ name }) => excerpt(name));
    const more = strange.length > MOST_NAMED ? ` and ${strange.length - MOST_NAMED} more` : "";
    throw new MixtabError(
      "unsupported-model",
      `No part of this model_type uses ${named.join(", ")}${more}, and without them its answers would be others. ` +
        "Check that config.json and the weights are of the same model, or choose another copy of it.",
    );
  }
  return kinds;
}

function kindOf(name: string, layers: number): string | null {
  const [kind] = HARMLESS.find(([, pattern]) => pattern.test(name)) ?? [];
  if (kind) return kind;
  const [, layer] = /(?:^|\.)layers\.(\d+)\./.exec(name) ?? [];
  return Number(layer) >= layers ? "layers past the last" : null;
}
