import { expect, test } from "vitest";
import { Connections } from "../../../src/engine/connections.ts";
import { type Part, readParts } from "../../../src/engine/parts.ts";
import type { Source } from "../../../src/source/source.ts";

const FILE = Uint8Array.from({ length: 60 }, (_, i) => i);

/** Neighbours, some with bytes between them that nobody wants, in no order. */
const RANGES: readonly (readonly [number, number])[] = [
  [20, 21],
  [3, 9],
  [9, 20],
  [25, 41],
  [44, 60],
];

test("each part gets its bytes, all and in order, wherever the pieces that arrive end", async () => {
  for (let size = 1; size <= FILE.length; size++) {
    const asked: string[] = [];
    const source = {
      async *read(_: string, begin: number, end: number) {
        asked.push(`${begin}-${end}`);
        for (let at = begin; at < end; at += size) yield FILE.slice(at, Math.min(end, at + size));
      },
    } as unknown as Source;
    const got = RANGES.map((): number[] => []);
    const parts = RANGES.map(
      ([begin, end], index): Part => ({
        range: { file: "a", begin, end },
        accept: (bytes) => void got[index]!.push(...bytes),
      }),
    );
    await readParts(parts, { source, connections: new Connections(), purpose: { inDemand: true } });
    expect(got, `pieces of ${size}`).toEqual(RANGES.map(([begin, end]) => [...FILE.subarray(begin, end)]));
    expect(asked).toEqual(["3-60"]);
  }
});
