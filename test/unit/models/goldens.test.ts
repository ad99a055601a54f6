import { readdirSync, readFileSync } from "node:fs";
import { join, posix, sep } from "node:path";
import { expect, test } from "vitest";
import { cpuSpeaker } from "../../../src/ops/cpu/speaker.ts";
import { directorySource } from "../../../src/source/directory.ts";
import { ALL } from "../../support/all.ts";
import {
  GOLDEN_FOLDERS,
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

test("every folder of the fixtures with a golden.json is found", () => {
  const files = readdirSync(fixtures, { recursive: true, encoding: "utf8" }).map((file) => file.replaceAll(sep, "/"));
  const folders = files.filter((file) => file.endsWith("/golden.json")).map((file) => posix.dirname(file));
  expect(folders.length).toBeGreaterThan(0);
  expect(GOLDEN_FOLDERS.map(({ folder }) => folder).sort()).toEqual(folders.sort());
});

// Of real conversations those with short answers; all of them in `npm run test:all`.
testModelGoldens(platform, GOLDEN_FOLDERS, ALL ? {} : { longestAnswer: 40 });
testAtenia(platform, 1e-4);
testUpcycledStory(platform, 2);
