/**
 * Measures how well a model predicts ids, by itself or beside another model. This file uses nothing
 * of Node: the command line and the tests run it.
 */
import { defined } from "../../src/base/assert.ts";
import type { Loaded } from "../../src/engine/load.ts";
import { Session } from "../../src/engine/session.ts";
import type { Speaker } from "../../src/ops/ops.ts";

/** A loaded model and the speaker on which it is loaded. */
export interface Opened {
  readonly speaker: Speaker;
  readonly loaded: Loaded;
}

/** Ids to predict. */
export interface Text {
  readonly ids: readonly number[];
  /**
   * The index of the first id that counts. Those before it are given, as a prompt is. At least 1.
   */
  readonly from: number;
}

/** Averages over those ids of some texts that count. */
export interface Measured {
  readonly tokens: number;
  /** exp of the mean of -log p(id). */
  readonly perplexity: number;
  /** The perplexity of the reference model; without one, the same as `perplexity`. */
  readonly reference: number;
  /** The mean of Σ p log(p / q) in nats, where p is the reference's probability. */
  readonly divergence: number;
  /** The share of ids for which both models find the same id the likeliest. */
  readonly agreement: number;
}

/**
 * Runs each text from an empty cache; it must not be longer than the context. Each row of logits is
 * compared with the id that follows, and with the same row of `reference`.
 */
export async function measure(
  model: Opened,
  texts: readonly Text[],
  reference: Opened | null = null,
): Promise<Measured> {
  const ours = new Reader(model);
  const theirs = reference && new Reader(reference);
  const sum = { tokens: 0, loss: 0, referenceLoss: 0, divergence: 0, agreed: 0 };
  for (const { ids, from } of texts) {
    ours.reset();
    theirs?.reset();
    for (let begin = 0; begin < ids.length; begin += CHUNK) {
      const chunk = ids.slice(begin, begin + CHUNK);
      const rows = await ours.read(chunk);
      const referenceRows = (await theirs?.read(chunk)) ?? rows;
      for (const [t, row] of rows.entries()) {
        const next = ids[begin + t + 1];
        if (next === undefined) break;
        if (begin + t + 1 < from) continue;
        const q = logProbabilities(row);
        const p = referenceRows === rows ? q : logProbabilities(defined(referenceRows[t], "a row"));
        sum.tokens++;
        sum.loss -= q.of[next]!;
        sum.referenceLoss -= p.of[next]!;
        sum.agreed += Number(p.best === q.best);
        for (const [id, logP] of p.of.entries()) sum.divergence += Math.exp(logP) * (logP - q.of[id]!);
      }
    }
  }
  const { tokens } = sum;
  return {
    tokens,
    perplexity: Math.exp(sum.loss / tokens),
    reference: Math.exp(sum.referenceLoss / tokens),
    divergence: sum.divergence / tokens,
    agreement: sum.agreed / tokens,
  };
}

/** How many tokens are run at a time. The logits of all of them are in memory together. */
const CHUNK = 64;

/** A session that gives the logits of every token it reads. */
class Reader {
  private readonly session: Session;
  private rows: Float32Array[] = [];

  constructor({ speaker, loaded }: Opened) {
    this.session = new Session(speaker, loaded, {
      chunk: CHUNK,
      taps: "all",
      onTaps: (taps, count) => {
        const logits = defined(taps.get("logits"), "logits") as Float32Array;
        const width = logits.length / count;
        for (let t = 0; t < count; t++) this.rows.push(logits.subarray(t * width, (t + 1) * width));
      },
    });
  }

  reset(): void {
    this.session.reset();
  }

  async read(ids: readonly number[]): Promise<readonly Float32Array[]> {
    this.rows = [];
    await this.session.prefill(ids, null);
    return this.rows;
  }
}

/** The logarithm of the softmax, computed in f64, and the likeliest id. */
function logProbabilities(logits: Float32Array): { readonly of: Float64Array; readonly best: number } {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  const largest = logits[best]!;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - largest);
  const shift = largest + Math.log(total);
  return { of: Float64Array.from(logits, (logit) => logit - shift), best };
}

/** How large a model's weights are. */
export interface Weight {
  readonly denseBytes: number;
  /** The bytes of the longest record of an expert; 0 in a dense model. */
  readonly recordBytes: number;
  /** The average over weights that are multiplied: experts and head included, the embedding not. */
  readonly bitsPerWeight: number;
}

/** Weighs a loaded model. */
export function weigh({ denseBytes, dense, library }: Loaded): Weight {
  const linears = dense.filter(({ role }) => role === "linear" || role === "feedForward" || role === "head");
  const experts = library?.layers.map((layer, index) => {
    const { w1, w3, w2 } = library.layout(index);
    return { count: layer.experts, matrices: [w1, w3, w2] };
  });
  let [bytes, numbers] = [0, 0];
  const add = (rows: number, columns: number, end: number, count = 1) => {
    bytes += count * end;
    numbers += count * rows * columns;
  };
  for (const { matrix } of linears) add(matrix.rows, matrix.columns, matrix.end);
  for (const { count, matrices } of experts ?? [])
    for (const { rows, columns, weight, end } of matrices) add(rows, columns, end - weight, count);
  return { denseBytes, recordBytes: library?.recordBytes ?? 0, bitsPerWeight: (8 * bytes) / numbers };
}
