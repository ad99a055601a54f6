import { defined } from "../../src/base/assert.ts";
import { gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import { httpSource } from "../../src/source/http.ts";
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

// The software adapter is slow. Long prompts in small chunks and long answers are for
// `npm run check -- … --device gpu`; so is a model with conversations whose weights are not
// quantised, since pages run it quantised.
const isLong = ({ golden }: GoldenFolder) => golden.prompt_ids.length > 64 || golden.chats !== undefined;
const short = GOLDEN_FOLDERS.filter((entry) => !isLong(entry));
const long = GOLDEN_FOLDERS.filter((entry) => isLong(entry) && (!entry.golden.chats || entry.isQuantised));
testModelGoldens(platform, long, { chunks: [256], longestAnswer: 40 });

// hashes.test.ts holds that chunks change no bit, so that a folder is tested at one size, 7 and 256
// in turn. Two mixtures, one quantised and one not, are tested at every size, one by one too.
const everySize = [true, false].map((quantised) =>
  defined(
    short.find(({ isSparse, isQuantised }) => isSparse && isQuantised === quantised),
    "a golden folder of each",
  ),
);
testModelGoldens(platform, everySize);
for (const [index, entry] of short.filter((other) => !everySize.includes(other)).entries())
  testModelGoldens(platform, [entry], { chunks: [index % 2 === 0 ? 7 : 256] });

testAtenia(platform, 1e-3);
testUpcycledStory(platform, 12);
