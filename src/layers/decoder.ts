import type { Ops, Tensor } from "../ops/ops.ts";
import type { Layer, Speech } from "./builder.ts";
import type { FeedForward } from "./mixture.ts";

export interface BlockParts extends FeedForward {
  /** All [T, D] -> [T, D]. */
  readonly attentionNorm: Layer;
  readonly attention: Layer;
  readonly ffnNorm: Layer;
}

export interface DecoderParts {
  /** The step's ids -> [T, D]. */
  readonly embed: (ops: Ops) => Tensor;
  readonly blocks: readonly BlockParts[];
  /** [T, D] -> [T, D]. */
  readonly norm: Layer;
  /** [T, D] -> logits [T, V]. */
  readonly head: Layer;
}

/**
 * A pre-norm decoder from ids to the next id: h = x + attention(norm(x)); h +
 * feed_forward(norm(h)).
 */
export function decoder({ embed, blocks, norm, head }: DecoderParts): Speech {
  const block = (ops: Ops, x: Tensor, parts: BlockParts, next: readonly BlockParts[]): Tensor => {
    const h = ops.add(x, parts.attention(ops, parts.attentionNorm(ops, x)));
    // The residual changes little from layer to layer, so the routers of the next layers can guess
    // from it already which experts they will choose (Eliseev and Mazur 2023).
    for (const { ffnNorm, guess } of next) guess?.(ops, ffnNorm(ops, h));
    return ops.add(h, parts.feedForward(ops, parts.ffnNorm(ops, h)));
  };

  return (ops) => {
    let x = embed(ops);
    ops.tap("hidden.0", x);
    for (const [index, parts] of blocks.entries()) {
      x = block(ops, x, parts, blocks.slice(index + 1, index + 1 + ops.ahead));
      ops.tap(`hidden.${index + 1}`, x);
    }
    const logits = head(ops, norm(ops, ops.lastRow(x)));
    ops.tap("logits", logits);
    ops.sample(logits);
  };
}
