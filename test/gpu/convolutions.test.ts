import { afterAll } from "vitest";
import { gpuSpeaker } from "../../src/ops/gpu/speaker.ts";
import { testConvolutions } from "../support/convolved_model.ts";

const shared = gpuSpeaker();
afterAll(async () => {
  const gpu = await shared;
  await gpu.check();
  gpu.close();
});

testConvolutions(() => shared);
