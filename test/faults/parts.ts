/** The parts that run in Node. */
import * as answers from "./answers.ts";
import { damage } from "./damage.ts";
import { Draw } from "./draw.ts";
import * as inputs from "./inputs.ts";
import { outages } from "./outages.ts";
import type { Tally } from "./tally.ts";

export interface Part {
  readonly run: (cases: number, seed: number) => Promise<Tally>;
  /** Of all cases of mutated inputs. */
  readonly share: number;
}

export const INPUTS: Readonly<Record<string, Part>> = {
  headers: { run: inputs.headers, share: 0.3 },
  indexes: { run: inputs.indexes, share: 0.15 },
  configs: { run: inputs.configs, share: 0.1 },
  weights: { run: inputs.weights, share: 0.1 },
  tokenizers: { run: inputs.tokenizers, share: 0.05 },
  templates: { run: inputs.templates, share: 0.1 },
  answers: { run: answers.answers, share: 0.17 },
  loads: { run: answers.loads, share: 0.03 },
};

export const OTHERS = { damage, outages } as const;

/** Numbers in [0, 1), drawn. */
export function numbers(seed: number): () => number {
  const draw = new Draw(seed);
  return () => draw.next();
}

export { smallFiles } from "./tiny_model.ts";
