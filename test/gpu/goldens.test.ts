import { gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import { httpSource } from "../../src/source/http.ts";
import { ALL } from "../support/all.ts";
import {
  GOLDEN_FOLDERS,
  type GoldenFolder,
  type Platform,
  testAtenia,
  testModelGoldens,
  testUpcycledStory,
} from "../support/goldens.ts";

const fixture = (path: string) => new URL(`/test/fixtures/${path}`, location.href).href;
/** One device for all, so that equal pipelines are compiled once. */
const shared = gpuSpeaker().then((speaker) => Object.assign(speaker, { close() {} }));
const platform: Platform = {
  speaker: () => shared,
  open: (folder) => httpSource(`${fixture(folder)}/`),
  bytes: async (file) => new Uint8Array(await (await fetch(fixture(file))).arrayBuffer()),
};

const isLong = ({ golden }: GoldenFolder) => golden.prompt_ids.length > 64 || golden.chats !== undefined;
const short = GOLDEN_FOLDERS.filter((entry) => !isLong(entry));
const long = GOLDEN_FOLDERS.filter((entry) => isLong(entry));

// The software adapter is slow. `npm run test:all` runs all of it.
if (ALL) {
  testModelGoldens(platform, long, { chunks: [256] });
  testModelGoldens(platform, short);
} else {
  // What is quantised, as pages run it, and answers of a sentence.
  const chatting = long.filter(({ golden, isQuantised }) => golden.chats && isQuantised);
  testModelGoldens(platform, chatting, { chunks: [256], longestAnswer: 20 });

  // hashes.test.ts holds that chunks change no bit: one folder at every size, then of each
  // model_type one that is quantised and one that is not in turn, at 7 and 256 in turn. The folders
  // that are left differ in names and encodings, which the CPU and the op table try.
  testModelGoldens(platform, short.slice(0, 1));
  const types = [...new Set(short.map(({ modelType }) => modelType))];
  for (const [index, type] of types.entries()) {
    const folders = short.slice(1).filter(({ modelType }) => modelType === type);
    const wanted = folders.find(({ isQuantised }) => isQuantised === (index % 2 === 0)) ?? folders[0];
    if (wanted) testModelGoldens(platform, [wanted], { chunks: [index % 4 < 2 ? 7 : 256] });
  }
}

testAtenia(platform, 1e-3, ALL);
if (ALL) testUpcycledStory(platform, 12);
