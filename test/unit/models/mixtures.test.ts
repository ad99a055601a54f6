/**
 * What must hold for every architecture with experts: neither the budget nor chunks nor reading
 * ahead change a bit, and a prefix that is kept counts as much as one that is read again.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type GoldenJson, GREEDY } from "../../../cli/check/model_golden.ts";
import { type LoadOptions, loadModel } from "../../../src/engine/load.ts";
import { Session } from "../../../src/engine/session.ts";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { directorySource } from "../../../src/source/directory.ts";
import { GOLDEN_FOLDERS } from "../../support/goldens.ts";

const fixtures = join(import.meta.dirname, "../../fixtures");
const WORDS = 6;

/** One folder for each model_type. */
const FOLDERS = new Map(
  GOLDEN_FOLDERS.filter(({ folder, isSparse }) => isSparse && folder.startsWith("hf/")).map(({ folder }) => {
    const config = JSON.parse(readFileSync(join(fixtures, folder, "config.json"), "utf8"));
    return [config.model_type as string, folder];
  }),
);

/** A model that notes the logits of all that it reads and says. */
async function open(folder: string, chunk: number, options: LoadOptions = {}) {
  const { prompt_ids: ids } = JSON.parse(readFileSync(join(fixtures, folder, "golden.json"), "utf8")) as GoldenJson;
  const prompt = ids.slice(0, 20);
  const speaker = cpuSpeaker();
  const source = directorySource(join(fixtures, folder));
  const loaded = await loadModel(speaker, source, null, { quantize: false, contextLength: 40, ...options });
  const logits: number[] = [];
  const session = new Session(speaker, loaded, {
    chunk,
    taps: "all",
    onTaps: (taps) => logits.push(...taps.get("logits")!),
  });
  /** Reads ids after those that are kept, and answers with a few words. */
  const answer = async (prompt: readonly number[]): Promise<number[]> => {
    let { token } = await session.prefill(prompt.slice(session.reuse(prompt)), GREEDY);
    const words = [token];
    while (words.length < WORDS) {
      ({ token } = await session.decode(token, GREEDY));
      words.push(token);
    }
    await loaded.pool!.quiet();
    return words;
  };
  return { prompt, answer, logits, pool: loaded.pool!, library: loaded.library! };
}

test.each([...FOLDERS])("%s says the same from the smallest pool, in chunks, reading ahead", async (_, folder) => {
  const resident = await open(folder, 256);
  const words = await resident.answer(resident.prompt);
  const { top } = resident.library;
  for (const options of [
    { slots: top, chunk: 7 },
    { slots: top + 1, chunk: 1 },
    { slots: top, chunk: 256, prefetch: true },
  ]) {
    const model = await open(folder, options.chunk, options);
    expect(await model.answer(model.prompt)).toEqual(words);
    expect(model.logits, JSON.stringify(options)).toEqual(resident.logits);
  }
});

test.each([...FOLDERS])("%s guesses for its later layers, and better than by chance", async (_, folder) => {
  const { prompt, answer, pool, library } = await open(folder, 256, { prefetch: true });
  await answer(prompt);
  // Nothing comes in front of the first.
  const ratios = library.layers.map(({ experts, top }, layer) => pool.recall[layer]! / (top / experts)).slice(1);
  expect(ratios.length).toBeGreaterThan(0);
  expect(ratios.reduce((sum, ratio) => sum + ratio) / ratios.length).toBeGreaterThan(1);
});

test.each([...FOLDERS])("%s keeps a prefix as if it had read it again", async (_, folder) => {
  const [kept, fresh] = [await open(folder, 256), await open(folder, 256)];
  await kept.answer(kept.prompt);
  const other = [...kept.prompt.slice(0, 11), 5, 4, 3];
  kept.logits.length = 0;
  expect(await kept.answer(other)).toEqual(await fresh.answer(other));
  expect(kept.logits).toEqual(fresh.logits.slice(-kept.logits.length));
});
