import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { directorySource } from "../../../src/source/directory.ts";
import {
  MODEL_GOLDENS,
  type Platform,
  testAtenia,
  testModelGoldens,
  testUpcycledStory,
} from "../../support/goldens.ts";

const fixtures = join(import.meta.dirname, "../../fixtures");
const platform: Platform = {
  speaker: async () => cpuSpeaker(),
  open: (folder) => directorySource(join(fixtures, folder)),
  bytes: async (file) => new Uint8Array(readFileSync(join(fixtures, file))),
};

testModelGoldens(platform, [...MODEL_GOLDENS, "storyteller-moe/hf", "storyteller-moe/mlx-4bit"]);
testAtenia(platform, 1e-4);
testUpcycledStory(platform, 2);
