/** Damage at rest: what lies in the store is flipped, cut or emptied between two visits. */
import { givenFiles } from "../../src/source/given_files.ts";
import { type MemoryRecord, memoryStore } from "../../src/store/memory.ts";
import { Draw } from "./draw.ts";
import { Tally, Wrong } from "./tally.ts";
import { answerOf, fillStore, tinyFiles } from "./tiny_model.ts";

/** Whatever is damaged, the next visit gives the undisturbed answer. */
export async function damage(cases: number, seed: number): Promise<Tally> {
  const tally = new Tally("damage at rest, in memory");
  const source = { ...givenFiles(await tinyFiles()), remote: true };
  const whole = new Map<string, MemoryRecord>();
  await fillStore(source, memoryStore(whole));
  const calm = await answerOf(source, null);
  for (let index = 0; index < cases; index++) {
    const draw = new Draw(seed + index);
    const share = draw.pick([0.05, 0.5, 1]);
    const records = new Map(
      [...whole].map(([key, { bytes, sha256 }]) => [
        key,
        { sha256, bytes: draw.chance(share) ? draw.bytes(bytes) : bytes.slice() },
      ]),
    );
    await tally.run(`${seed + index}`, async () => {
      if ((await answerOf(source, memoryStore(records))) !== calm) throw new Wrong("another answer than undisturbed");
    });
  }
  return tally;
}
