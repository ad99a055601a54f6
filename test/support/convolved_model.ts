import { expect, test } from "vitest";
import { layMatrix } from "../../src/base/matrix.ts";
import { Session } from "../../src/engine/session.ts";
import type { Ops, Speaker } from "../../src/ops/ops.ts";
import { makeWeight, plain, random } from "./op_table.ts";

const [D, V, CONTEXT] = [6, 11, 400];
const WINDOWS = [4, 3] as const;
/** A chunk of 256 fits with the 3 rows before it, and a prompt of {@link PROMPT} goes round. */
const RING = 270;
const PROMPT = Array.from({ length: 300 }, (_, index) => (index * index + 3) % V);
/** The most tokens by which {@link PROMPT} may be cut so that the rows before the cut are there. */
const FARTHEST = RING - Math.max(...WINDOWS) + 1;

/** Two convolutions, one after the other, in a session. */
function convolved(speaker: Speaker, chunk: number) {
  const next = random(3);
  const matrix = (rows: number, columns: number) => makeWeight(speaker, layMatrix(rows, columns, plain("f32")), next);
  const [embedding, head] = [matrix(V, D), matrix(V, D)];
  const layers = WINDOWS.map((window) => ({ w: matrix(D, window), history: speaker.history(RING, D, window) }));
  const say = (ops: Ops) => {
    let x = ops.embed(embedding);
    for (const { w, history } of layers) x = ops.add(x, ops.convolve(x, w, history));
    const logits = ops.linear(ops.lastRow(x), head);
    ops.tap("logits", logits);
    ops.sample(logits);
  };
  const logits: number[] = [];
  const rings = layers.map(({ history }) => history);
  const session = new Session(
    speaker,
    { say, width: D, rings, pool: null, contextLength: CONTEXT, ahead: 0 },
    { chunk, taps: "all", onTaps: (taps) => logits.push(...taps.get("logits")!) },
  );
  /** Reads a prompt, as far as it is not kept; returns how much was kept, and the logits of the rest. */
  const read = async (prompt: readonly number[]) => {
    const kept = session.reuse(prompt);
    logits.length = 0;
    await session.prefill(prompt.slice(kept), null);
    return { kept, logits: [...logits] };
  };
  return { read };
}

/** Tests that what a convolution keeps holds however a prompt is cut. */
export function testConvolutions(speaker: () => Promise<Speaker>): void {
  test("a convolution has the same bits in chunks of 1, 7 and 256, also round its ring", async () => {
    const [device, whole] = [await speaker(), await convolved(await speaker(), 256).read(PROMPT)];
    expect(whole.logits.length).toBe(PROMPT.length * V);
    for (const chunk of [1, 7])
      expect((await convolved(device, chunk).read(PROMPT)).logits, `${chunk}`).toEqual(whole.logits);
  });

  test("a prefix is kept as far as the rows before its end are still there", async () => {
    const device = await speaker();
    const cut = (length: number) => [...PROMPT.slice(0, length), (PROMPT[length]! + 1) % V, 5, 0, 7];
    for (const [back, isKept] of [
      [20, true],
      [FARTHEST, true],
      [FARTHEST + 1, false],
    ] as const) {
      const length = PROMPT.length - back;
      const model = convolved(device, 256);
      await model.read(PROMPT);
      const { kept, logits } = await model.read(cut(length));
      expect(kept, `${back} tokens back`).toBe(isKept ? length : 0);
      const fresh = (await convolved(device, 256).read(cut(length))).logits;
      expect(logits, `${back} tokens back`).toEqual(fresh.slice(kept * V));
    }
  });
}
