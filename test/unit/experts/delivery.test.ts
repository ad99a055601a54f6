import { expect, test } from "vitest";
import { setBit } from "../../../src/base/bits.ts";
import { Delivery, type Shelf } from "../../../src/experts/delivery.ts";
import { NONE } from "../../../src/ops/ops.ts";

const bits = (...experts: number[]): Uint32Array => {
  const set = new Uint32Array(1);
  for (const expert of experts) setBit(set, expert);
  return set;
};

/** Slots enough for every expert; a read ends when it is told to. */
function shelf() {
  const begun: number[] = [];
  const cancelled: number[] = [];
  const ends: (() => void)[] = [];
  const kept = new Map<number, number>();
  const all: Shelf = {
    slotOf: (id) => kept.get(id) ?? NONE,
    reserve: (id) => id,
    vacate: (id) => id,
    cancel: (slot) => void cancelled.push(slot),
    async fetch(id, slot) {
      begun.push(id);
      await new Promise<void>((resolve) => ends.push(resolve));
      kept.set(id, slot);
    },
    underWay: () => undefined,
  };
  return { all, begun, cancelled, ends };
}

test("after an abort no further expert is read, and the slots of those not read are free again", async () => {
  const { all, begun, cancelled, ends } = shelf();
  const stop = new AbortController();
  const delivery = new Delivery(all, { layer: 1, experts: 8, pending: bits(1, 4, 6) }, 1, stop.signal);
  expect(begun).toEqual([9]);
  const arrival = delivery.arrival();
  stop.abort(new Error("the reader left"));
  ends[0]!();
  await expect(arrival).rejects.toThrow("the reader left");
  await delivery.end();
  expect([begun, cancelled]).toEqual([[9], [12, 14]]);
});

test("so many reads run at once as are allowed, in ascending order", async () => {
  const { all, begun, ends } = shelf();
  const delivery = new Delivery(all, { layer: 0, experts: 8, pending: bits(7, 2, 5) }, 2, undefined);
  expect(begun).toEqual([2, 5]);
  const arrival = delivery.arrival();
  ends[0]!();
  await arrival;
  expect(begun).toEqual([2, 5, 7]);
  expect([delivery.holdsAny(bits(2)), delivery.holdsAny(bits(5, 7))]).toEqual([true, false]);
  for (const end of ends) end();
  await delivery.end();
  expect(delivery.reading).toBe(false);
});
