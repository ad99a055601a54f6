/**
 * `node bench/encode.mjs [--tokens 200]`: measures, in headless Chromium, the JavaScript time to
 * replay a token's plan of 32 and 48 layers (to write the step, encode the pass, and submit it),
 * and the bytes of its readback. The model is a toy, since what is encoded depends only on layers
 * and dispatches.
 */
import { parseArgs } from "node:util";
import { median, openPage } from "./chromium_page.mjs";

const { values } = parseArgs({ options: { tokens: { type: "string", default: "200" } } });
const { page, close } = await openPage();
const rows = await page.evaluate(async (tokens) => {
  const { gpuSpeaker } = await import("/src/ops/gpu/speaker.ts");
  const { toyModel } = await import("/test/support/toy_model.ts");
  const sample = { temperature: 0, topK: 0, topP: 1, seed: 0 };
  const rows = [];
  for (const [layers, experts, top, ahead] of [
    [32, 8, 2, 0],
    [48, 128, 8, 0],
    [48, 128, 8, 2],
  ]) {
    const speaker = await gpuSpeaker();
    const shape = { layers, experts, top, window: null, stacked: true };
    const { slots, library, loaded } = await toyModel(speaker, shape, { slots: layers * experts, contextLength: 256 });
    for (let id = 0; id < layers * experts; id++) {
      const [layer, expert] = [Math.floor(id / experts), id % experts];
      await library.read(layer, expert, (offset, bytes) => slots.write(id, offset, bytes));
      slots.own(id, id);
      slots.map(layer, expert, id);
    }
    const plan = speaker.record("one", 1, loaded.say, { ahead });
    let readBytes = 0;
    let dispatches = 0;
    const { mapAsync } = GPUBuffer.prototype;
    const { dispatchWorkgroups } = GPUComputePassEncoder.prototype;
    GPUBuffer.prototype.mapAsync = function (mode, offset, size) {
      readBytes = size;
      return mapAsync.call(this, mode, offset, size);
    };
    const times = [];
    for (let seq = 0; seq < tokens + 10; seq++) {
      if (seq === tokens + 9)
        GPUComputePassEncoder.prototype.dispatchWorkgroups = function (...args) {
          dispatches++;
          dispatchWorkgroups.apply(this, args);
        };
      const step = { seq, position: seq % 200, count: 1, tokens: Uint32Array.of(1), sample, marked: 1 };
      const began = performance.now();
      const running = plan.run(step, plan.begin, plan.end);
      const ms = performance.now() - began;
      await running;
      if (seq >= 10) times.push(ms);
    }
    GPUBuffer.prototype.mapAsync = mapAsync;
    GPUComputePassEncoder.prototype.dispatchWorkgroups = dispatchWorkgroups;
    rows.push({ layers, experts, top, ahead, times, readBytes, dispatches });
    speaker.close();
  }
  return rows;
}, Number(values.tokens));
await close();
console.log("| layers | experts | guesses | dispatches | JS per token, median | readback |");
console.log("| --- | --- | --- | --- | --- | --- |");
for (const { layers, experts, top, ahead, times, readBytes, dispatches } of rows)
  console.log(
    `| ${layers} | ${top} of ${experts} | ${ahead ? `${ahead} layers ahead` : "none"} | ${dispatches} | ${median(times).toFixed(2)} ms | ${readBytes} bytes |`,
  );
