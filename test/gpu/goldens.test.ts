import { gpuSpeaker } from "../../src/ops/gpu.ts";
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

// The software adapter is slow: long prompts token by token, and long answers, are for `npm run check -- … --device gpu`.
const long = ["hf/mixtral_long", "storyteller-moe/mlx-4bit"];
testModelGoldens(
  platform,
  MODEL_GOLDENS.filter((folder) => !long.includes(folder)),
);
testModelGoldens(platform, long, { chunks: [256], longestAnswer: 20 });
testAtenia(platform, 1e-3);
testUpcycledStory(platform, 12);
