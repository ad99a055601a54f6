import { gpuSpeaker } from "../../src/ops/gpu.ts";
import { httpSource } from "../../src/source/http.ts";
import { MODEL_GOLDENS, type Platform, testAtenia, testModelGoldens, testUpcycledStory } from "../support/goldens.ts";

const fixture = (path: string) => new URL(`/test/fixtures/${path}`, location.href).href;
const platform: Platform = {
  speaker: () => gpuSpeaker(),
  open: (folder) => httpSource(`${fixture(folder)}/`),
  bytes: async (file) => new Uint8Array(await (await fetch(fixture(file))).arrayBuffer()),
};

testModelGoldens(platform, [...MODEL_GOLDENS, "storyteller-moe/mlx-4bit"]);
testAtenia(platform, 1e-3);
testUpcycledStory(platform);
