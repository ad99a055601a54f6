/**
 * Where the numbers of the step and of the state lie, in words; `prelude.wgsl` declares the same.
 */
import { assert } from "../base/assert.ts";

const NONE = 0xffffffff;
const IDS_AT = 12;
const MAX_IDS = 256;
export const STEP_BYTES = 4 * (IDS_AT + MAX_IDS);

/**
 * The state begins with 4 words: stall word, token, finite, one unused. Then come the set of
 * pending experts and the sets of wanted and guessed ones.
 */
const PENDING_AT = 4;
const SETS_AT = 12;
/**
 * With 1,004 words of sets, enough for 125 layers of 256 experts (8 words each). A report is then 4
 * KiB, with the stall word that precedes the state.
 */
export const STATE_BYTES = 4064;

/**
 * A report: the stall word from before the step, 28 unused bytes, then the state after the step.
 */
export const REPORT_STATE_AT = 32;
export const REPORT_BYTES = REPORT_STATE_AT + STATE_BYTES;

export interface StepNumbers {
  readonly position: number;
  readonly count: number;
  readonly marked: number;
  readonly tokens: Uint32Array | "sampled";
  readonly sample: {
    readonly temperature: number;
    readonly topK: number;
    readonly topP: number;
    readonly seed: number;
  } | null;
}

/** Writes a step into `target`, of STEP_BYTES; returns how many of its bytes are in use. */
export function encodeStep(step: StepNumbers, target: ArrayBuffer): number {
  const { position, count, marked, tokens, sample } = step;
  const words = new Uint32Array(target);
  const floats = new Float32Array(target);
  const sampled = tokens === "sampled";
  words.set([position, count, marked, Number(sampled), Number(sample !== null)]);
  words[5] = sample?.topK ?? 0;
  floats[6] = sample?.temperature ?? 0;
  floats[7] = sample?.topP ?? 1;
  words[8] = sample?.seed ?? 0;
  if (sampled) return 4 * IDS_AT;
  assert(tokens.length >= count, "a step brings an id for each of its tokens");
  words.set(tokens.subarray(0, count), IDS_AT);
  return 4 * (IDS_AT + count);
}

/** How many bytes of the state are in use by a model whose sets have `words` words. */
export function stateBytes(words: number): number {
  const bytes = 4 * (SETS_AT + words);
  assert(bytes <= STATE_BYTES, `sets of ${words} words fit the report`);
  return bytes;
}

export type DecodedReport = ReturnType<typeof decodeReport>;

/** Reads a report's words. */
export function decodeReport(words: Uint32Array) {
  const state = words.subarray(REPORT_STATE_AT / 4);
  return {
    /** False if the step was queued behind one that stalled, and did nothing. */
    began: words[0] === NONE,
    stall: state[0]!,
    token: state[1]!,
    finite: state[2] !== 0,
    pending: (size: number) => state.slice(PENDING_AT, PENDING_AT + size),
    sets: (at: number, size: number) => state.slice(SETS_AT + at, SETS_AT + at + size),
  };
}
