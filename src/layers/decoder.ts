import type { Cache, Ops, Tensor, Weight } from "../ops/ops.ts";
import { type AttentionParts, attention } from "./attention.ts";
import type { FeedForward } from "./feed_forward.ts";

export interface BlockParts {
  readonly attentionNorm: Weight; // [D]
  readonly attention: AttentionParts;
  readonly cache: Cache;
  readonly ffnNorm: Weight; // [D]
  readonly feedForward: FeedForward;
}

export interface DecoderParts {
  readonly embedding: Weight; // [V, D]
  readonly blocks: readonly BlockParts[];
  readonly norm: Weight; // [D]
  readonly head: Weight; // [V, D]
  readonly eps: number;
}

/** A pre-norm decoder from ids to the next id: h = x + attention(norm(x)); h + feed_forward(norm(h)). */
export function decoder(ops: Ops, { embedding, blocks, norm, head, eps }: DecoderParts): void {
  const block = (x: Tensor, parts: BlockParts, next: readonly BlockParts[]): Tensor => {
    const attend = attention(ops, parts.attention, parts.cache);
    const h = ops.add(x, attend(ops.rmsNorm(x, parts.attentionNorm, eps)));
    // The residual changes little from layer to layer: the next routers already see much of what they will see (Eliseev and Mazur 2023).
    for (const { ffnNorm, feedForward } of next) feedForward.guess?.(ops, ops.rmsNorm(h, ffnNorm, eps));
    return ops.add(h, parts.feedForward.run(ops, ops.rmsNorm(h, parts.ffnNorm, eps)));
  };

  let x = ops.embed(embedding);
  ops.tap("hidden.0", x);
  blocks.forEach((parts, index) => {
    x = block(x, parts, blocks.slice(index + 1, index + 1 + ops.ahead));
    ops.tap(`hidden.${index + 1}`, x);
  });
  const logits = ops.linear(ops.rmsNorm(ops.lastRow(x), norm, eps), head);
  ops.tap("logits", logits);
  ops.sample(logits);
}
