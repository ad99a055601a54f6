import { gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import { httpSource } from "../../src/source/http.ts";
import { MODEL_GOLDENS, type Platform, testAtenia, testModelGoldens, testUpcycledStory } from "../support/goldens.ts";

const fixture = (path: string) => new URL(`/test/fixtures/${path}`, location.href).href;
/** One device for all, so that equal pipelines are compiled once. */
const shared = gpuSpeaker().then((speaker) => Object.assign(speaker, { close() {} }));
const platform: Platform = {
  speaker: () => shared,
  open: (folder) => httpSource(`${fixture(folder)}/`),
  bytes: async (file) => new Uint8Array(await (await fetch(fixture(file))).arrayBuffer()),
};

// The software adapter is slow: of tokens one by one two models are enough, since hashes.test.ts holds that chunks change no bit; long prompts in small chunks and
// long answers are for `npm run check -- … --device gpu`.
const long = ["hf/mixtral_long", "storyteller-moe/mlx-4bit"];
const short = MODEL_GOLDENS.filter((folder) => !long.includes(folder));
testModelGoldens(platform, short, { chunks: [7, 256] });
testModelGoldens(platform, ["hf/mixtral_base", "mlx/mixtral_q4g64"], { chunks: [1] });
testModelGoldens(platform, long, { chunks: [256], longestAnswer: 40 });
testAtenia(platform, 1e-3);
testUpcycledStory(platform, 12);
