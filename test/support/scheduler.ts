/**
 * Runs conversations with a toy model under every condition that the scheduler may meet. The words
 * and logits must not depend on the conditions.
 */
import { Session } from "../../src/engine/session.ts";
import type { Mode } from "../../src/experts/modes.ts";
import { Pool } from "../../src/experts/pool.ts";
import { Trace } from "../../src/experts/trace.ts";
import { cpuSpeaker } from "../../src/ops/cpu/speaker.ts";
import { NONE, type Sampling, type Slots, type Speaker, type Taps } from "../../src/ops/ops.ts";
import { numbers, type ToyShape, toyModel } from "./toy_model.ts";

export const SHAPES: readonly ToyShape[] = [
  { layers: 3, experts: 5, top: 2, window: null },
  { layers: 2, experts: 8, top: 3, window: 7 },
  { layers: 4, experts: 3, top: 1, window: 5 },
];

/** The longest conversation, prompt and answer together, in tokens. */
const CONTEXT = 80;

/** Tokens are drawn at a temperature, so that a difference of one bit shows in the words. */
const SAMPLING: Sampling = { temperature: 0.9, topK: 0, topP: 1, seed: 42 };

export interface Conditions {
  readonly shape: ToyShape;
  readonly slots: number;
  readonly prompt: number;
  /** How many tokens to generate, including the one that follows from the prompt. */
  readonly generate: number;
  readonly chunk?: number;
  readonly mode?: Mode | "auto";
  readonly prefetch?: boolean;
  readonly readsAtOnce?: number;
  /** How many turns of the event loop a read takes. Reads go through this list over and over. */
  readonly delays?: readonly number[];
  /** The numbers of the reads that fail, counted over all reads from 0. */
  readonly failing?: readonly number[];
  /** The numbers of the reads at which the request is aborted. It is then repeated. */
  readonly aborting?: readonly number[];
  /**
   * Token counts after which the reader stops reading (every second time: aborts), and then comes
   * back.
   */
  readonly leaving?: readonly number[];
  /**
   * Budgets: from token `token` on there are `slots` slots. They are set while that token is on its
   * way.
   */
  readonly budgets?: readonly { readonly token: number; readonly slots: number }[];
  /** Whether a budget that grows is refused, as by a device without room. */
  readonly refused?: boolean;
  readonly taps?: Taps;
  /**
   * Is called with events as they begin: `run FROM-TO` (MoE layers; FROM is `r` for a resume),
   * `read LAYER`, and `came LAYER`.
   */
  readonly log?: (event: string) => void;
  /** Is called before and after a budget is set. */
  readonly onResize?: (before: boolean) => void;
}

/**
 * Runs a conversation. Returns its words, logits (only with taps "all") and caches, and what
 * happened meanwhile.
 */
export async function conversation(given: Conditions, speaker: Speaker = cpuSpeaker()) {
  const {
    shape,
    slots,
    prompt,
    generate,
    chunk,
    mode = "auto",
    prefetch = false,
    readsAtOnce = 1,
    taps = "none",
  } = given;
  const { delays = [], failing = [], aborting = [], leaving = [], budgets = [], refused = false } = given;
  const left = new Set<number>();
  const toy = await toyModel(speaker, shape, { slots, contextLength: CONTEXT, prefetch });
  const next = numbers(7);
  const ids = Array.from({ length: prompt }, () => Math.floor((next() + 1) * 0.5 * toy.vocabulary));
  let abort = new AbortController();
  let reads = 0;
  let uploads = 0;
  /**
   * `step`: experts that were uploaded by reads which began in the current step. `twice`: those
   * that were uploaded more than once in a step.
   */
  let step = new Set<string>();
  const twice: string[] = [];
  const unsafe: string[] = [];
  const { speaker: slow, watch } = watched(speaker, shape.layers, given.log);
  const told = guard(toy.slots, watch, unsafe);
  const resize = toy.slots.resize.bind(toy.slots);
  if (refused)
    toy.slots.resize = async (count, moves) => {
      if (count > toy.slots.count) throw new Error("the device has no room");
      await resize(count, moves);
    };
  const pool = new Pool(
    toy.slots,
    toy.library.layers,
    async (layer, expert, accept, signal) => {
      const read = reads++;
      const begunIn = step;
      given.log?.(`read ${layer}`);
      for (let turn = 0; turn < (delays[read % Math.max(1, delays.length)] ?? 0); turn++) await Promise.resolve();
      if (failing.includes(read)) throw new Error("a transient failure");
      if (aborting.includes(read)) abort.abort(new Error("the user stopped"));
      let record = new Uint8Array();
      const keep = (_offset: number, bytes: Uint8Array<ArrayBuffer>) => {
        record = bytes;
      };
      const from = await toy.library.read(layer, expert, keep, signal);
      const half = record.length / 8 - ((record.length / 8) % 4);
      accept(0, record.slice(0, half));
      await Promise.resolve();
      accept(half, record.slice(half));
      uploads++;
      given.log?.(`came ${layer}`);
      const key = `${layer} ${expert}`;
      if (begunIn.has(key)) twice.push(key);
      begunIn.add(key);
      return from;
    },
    { readsAtOnce, prefetch, mode },
  );
  const logits: number[] = [];
  const { layers, recordBytes } = toy.library;
  const trace = taps === "routes" ? new Trace({ model: "toy", arch: "toy", layers, recordBytes }) : null;
  const beginStep = pool.beginStep.bind(pool);
  pool.beginStep = () => {
    step = new Set();
    beginStep();
  };
  const session = new Session(
    slow,
    { ...toy.loaded, pool },
    {
      ...(chunk === undefined ? {} : { chunk }),
      taps,
      trace,
      onTaps: (tapped) => logits.push(...(tapped.get("logits") ?? [])),
    },
  );

  let failures = 0;
  /** Repeats a task that may fail or be aborted, until it is done. */
  async function insist<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await task(abort.signal);
      } catch (error) {
        if (!/transient|stopped/.test((error as Error).message)) throw error;
        failures++;
        abort = new AbortController();
      }
    }
  }
  const words: number[] = [];
  const refusals: string[] = [];
  const changing: Promise<void>[] = [];
  const { token } = await insist((signal) => {
    const cached = session.reuse(ids);
    if (cached === 0) logits.length = 0;
    return session.prefill(ids.slice(cached), SAMPLING, signal);
  });
  words.push(token);
  while (words.length < generate)
    await insist(async (signal) => {
      const rest = session.generate(words.at(-1)!, SAMPLING, generate - words.length, signal);
      try {
        for (;;) {
          for (const { token: at, slots: count } of budgets) {
            if (at !== words.length) continue;
            changing.push(
              session
                .between(async () => {
                  given.onResize?.(true);
                  await pool.resize(count).finally(() => given.onResize?.(false));
                })
                .catch((error) => void refusals.push((error as Error).message)),
            );
          }
          const { value, done } = await rest.next();
          if (done) return;
          words.push(value);
          if (!leaving.includes(words.length) || left.has(words.length)) continue;
          left.add(words.length);
          if (left.size % 2 === 1) return;
          abort.abort(new Error("the user stopped"));
        }
      } finally {
        await rest.return();
        if (watch.flying > 0) unsafe.push("a step runs on after its reader has left");
      }
    });
  await Promise.all(changing);
  await pool.quiet();
  return {
    words,
    logits,
    caches: speaker.device === "cpu" ? toy.cached(session.position) : [],
    pool,
    reads,
    uploads,
    failures,
    refusals,
    twice,
    unsafe,
    trace,
    toy,
    told,
  };
}

/**
 * A speaker whose plans log what they run, take some turns of the event loop for it, and are
 * counted (`flying`) while they run.
 */
function watched(speaker: Speaker, layers: number, log: Conditions["log"]) {
  const watch = { flying: 0 };
  const record: Speaker["record"] = (...args) => {
    const plan = speaker.record(...args);
    const marks = [plan.begin, ...Array.from({ length: layers - 1 }, (_, layer) => plan.after(layer)), plan.end];
    return {
      ...plan,
      async run(step, from, to) {
        const begin = marks.indexOf(from);
        log?.(`run ${begin < 0 ? "r" : begin}-${marks.indexOf(to)}`);
        watch.flying++;
        for (let turn = 0; turn < 6; turn++) await Promise.resolve();
        return await plan.run(step, from, to).finally(() => watch.flying--);
      },
    };
  };
  return { speaker: { ...speaker, record }, watch };
}

/**
 * Adds to `unsafe` when bytes are written to a slot that an expert owns, and when slots change
 * while a step runs. Returns what the slots are told: the owner of each, and where each expert
 * lies.
 */
function guard(slots: Slots, watch: { readonly flying: number }, unsafe: string[]) {
  const owners = new Map<number, number>();
  const table = new Map<number, number>();
  const { write, own, map } = slots;
  const resize = slots.resize.bind(slots);
  slots.own = (slot, owner) => {
    owners.set(slot, owner);
    own(slot, owner);
  };
  slots.map = (layer, expert, slot) => {
    table.set(layer * slots.experts + expert, slot);
    map(layer, expert, slot);
  };
  slots.write = (slot, ...rest) => {
    if ((owners.get(slot) ?? NONE) !== NONE) unsafe.push(`slot ${slot} is written while it has an owner`);
    write(slot, ...rest);
  };
  slots.resize = async (...args) => {
    if (watch.flying > 0) unsafe.push("slots change while a step runs");
    await resize(...args);
  };
  return { owners, table };
}
