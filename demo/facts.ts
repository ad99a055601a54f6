import type { ModelInfo } from "../src/index.ts";
import { h } from "../src/widget/dom.ts";
import { formatBytes, formatCount } from "../src/widget/numbers.ts";

/** Lists what is known of a model and of the device that it runs on. */
export function showFacts(list: Element, info: ModelInfo): void {
  const { memory } = info;
  const experts = info.experts > 0 ? `${info.experts} in each layer, ${info.top} asked per token` : "none";
  const facts: readonly (readonly [string, string])[] = [
    ["Model", info.id],
    ["Architecture", `${info.architecture}, ${info.layers} layers`],
    ["Experts", experts],
    ["One expert", formatBytes(info.recordBytes)],
    ["All experts", formatBytes(info.expertBytes)],
    ["Other weights", formatBytes(info.denseBytes)],
    ["Context", `${formatCount(info.contextLength)} tokens`],
    ["Device", info.device === "gpu" ? `GPU: ${info.deviceDescription}` : `CPU: ${info.deviceDescription}`],
    ["Memory", `${formatBytes(memory.weights + memory.caches + memory.slots + memory.arena)} on the device`],
    ["", `${formatBytes(memory.weights)} weights, ${formatBytes(memory.slots)} expert slots`],
    ["", `${formatBytes(memory.caches)} cache, ${formatBytes(memory.arena)} for sums in progress`],
  ];
  const rows = facts.flatMap(([name, value]) => [...(name ? [h("dt", {}, name)] : []), h("dd", {}, value)]);
  list.replaceChildren(...rows);
}
