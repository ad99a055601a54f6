import { expect, test } from "@playwright/test";
import { Draw } from "../faults/draw.ts";
import { killBrowser } from "../faults/kills.mjs";
import { smallFiles } from "../faults/tiny_model.ts";

test("a browser that is killed in mid-fill, twice, leaves no torn record in either store, and the next visit answers", async () => {
  const draw = new Draw(20261127);
  const { kills, wrong } = await killBrowser(await smallFiles(), 2, () => draw.next());
  expect([kills, wrong]).toEqual([2, []]);
});
