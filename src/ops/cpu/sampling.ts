import { uniform } from "../../base/hash.ts";
import type { Sampling } from "../ops.ts";

/** Draws the id of the token that will sit at `position`. */
export function draw(logits: Float32Array, { temperature, topK, topP, seed }: Sampling, position: number): number {
  if (temperature === 0) return logits.reduce((best, logit, id) => (logit > logits[best]! ? id : best), 0);
  const order = Float32Array.from(logits).sort().reverse();
  const kth = topK > 0 && topK < logits.length ? order[topK - 1]! : -Infinity;
  const weightOf = (logit: number) => (logit >= kth ? Math.exp((logit - order[0]!) / temperature) : 0);
  const total = logits.reduce((sum, logit) => sum + weightOf(logit), 0);

  let threshold = kth;
  if (topP < 1) {
    let mass = 0;
    for (const logit of order) {
      threshold = logit;
      mass += weightOf(logit);
      if (mass >= topP * total) break;
    }
  }
  const kept = Array.from(logits, (logit) => (logit >= threshold ? weightOf(logit) : 0));
  let left = uniform(seed, position) * kept.reduce((sum, weight) => sum + weight, 0);
  let last = 0;
  for (const [id, weight] of kept.entries()) {
    if (weight === 0) continue;
    last = id;
    left -= weight;
    if (left < 0) break;
  }
  return last;
}
