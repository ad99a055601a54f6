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

testModelGoldens(platform, [...MODEL_GOLDENS, "storyteller-moe/mlx-4bit"]);
testAtenia(platform, 1e-3);
testUpcycledStory(platform, 12);
