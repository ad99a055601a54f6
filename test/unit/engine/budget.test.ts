import { join } from "node:path";
import { expect, test } from "vitest";
import { MixtabError } from "../../../src/base/errors.ts";
import type { ExpertLibrary } from "../../../src/engine/library.ts";
import { type LoadOptions, loadModel, resizePool, slotsFor } from "../../../src/engine/load.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import type { Speaker } from "../../../src/ops/ops.ts";
import { directorySource } from "../../../src/source/directory.ts";

const source = directorySource(join(import.meta.dirname, "../../fixtures/mlx/mixtral_q4g64"));

/** A speaker whose device has room for so many slots, and can bind so many. */
function deviceWith(room: number, most = Number.POSITIVE_INFINITY) {
  const asked: number[] = [];
  const speaker = cpuSpeaker();
  const slots: Speaker["slots"] = (...args) => {
    const made = speaker.slots(...args);
    const resize = made.resize.bind(made);
    return Object.defineProperties(made, {
      most: { value: Math.min(most, made.most) },
      resize: {
        value: async (...change: Parameters<typeof resize>) => {
          asked.push(change[0]);
          if (change[0] > room) throw new MixtabError("out-of-memory", "There is no room.");
          await resize(...change);
        },
      },
    });
  };
  return { speaker: { ...speaker, slots }, asked };
}

const load = (speaker: Speaker, options: LoadOptions) =>
  loadModel(speaker, source, null, { contextLength: 64, ...options });

test.each([
  // Room for slots, of 16; what "auto" takes of it: all, or nine tenths of what was given.
  [100, 16],
  [16, 16],
  [13, 11],
  [9, 8],
  [2, 2],
])("a device with room for %i slots gives %i to auto", async (room, count) => {
  const { speaker, asked } = deviceWith(room);
  const { pool } = await load(speaker, { budgetBytes: "auto" });
  expect(pool!.slots.count).toBe(count);
  expect(asked.length).toBeLessThan(12);
});

test("no more is asked for than the device can bind", async () => {
  const { speaker } = deviceWith(100, 10);
  expect((await load(speaker, {})).pool!.slots.count).toBe(10);
  expect((await load(speaker, { budgetBytes: "auto" })).pool!.slots.count).toBe(10);
});

test("a budget the device does not give is out-of-memory at once; a growing one leaves the old pool as it was", async () => {
  const { speaker } = deviceWith(6);
  await expect(load(speaker, {})).rejects.toMatchObject({ code: "out-of-memory" });
  const { pool, library } = await load(speaker, { slots: 4 });
  const { recordBytes } = library!;
  await expect(resizePool(library!, pool!, 9 * recordBytes)).rejects.toMatchObject({ code: "out-of-memory" });
  await expect(resizePool(library!, pool!, recordBytes)).rejects.toMatchObject({ code: "budget-too-small" });
  expect(pool!.slots.count).toBe(4);
  await resizePool(library!, pool!, 6 * recordBytes + 1);
  expect(pool!.slots.count).toBe(6);
  await resizePool(library!, pool!, "auto");
  expect(pool!.slots.count).toBe(6);
});

test("where no budget is named it is 2 GiB, and never more slots than experts", () => {
  const library = { recordBytes: 100_000_000, top: 2, count: 256 } as ExpertLibrary;
  expect(slotsFor(library, {})).toBe(21);
  expect(slotsFor({ ...library, count: 20 } as ExpertLibrary, {})).toBe(20);
  expect(slotsFor(library, { budgetBytes: 200_000_000 })).toBe(2);
  expect(() => slotsFor(library, { budgetBytes: 199_999_999 })).toThrow(
    /smallest budget that works is 200000000 bytes/,
  );
});

test("with prefetch the experts of the next two layers are guessed, without it none", async () => {
  for (const [prefetch, ahead] of [
    [true, 2],
    [false, 0],
  ] as const) {
    const speaker = cpuSpeaker();
    expect((await loadModel(speaker, source, null, { slots: 2, prefetch })).ahead).toBe(ahead);
    speaker.close();
  }
});
