import type { ModelInfo } from "../src/index.ts";
import { h } from "../src/widget/dom.ts";
import { formatBytes, formatCount } from "../src/widget/numbers.ts";

type Fact = readonly [name: string, value: string];

/** Lists what is known of a model and of the device that it runs on. */
export function showFacts(list: Element, info: ModelInfo): void {
  const { memory } = info;
  const slots = info.experts > 0 ? `, ${formatBytes(memory.slots)} expert slots` : "";
  const facts: readonly Fact[] = [
    ["Model", info.id],
    ["Architecture", `${info.architecture}, ${info.layers} layers`],
    ...expertFacts(info),
    [info.experts > 0 ? "Other weights" : "Weights", formatBytes(info.denseBytes)],
    ["Context", `${formatCount(info.contextLength)} tokens`],
    ["Device", info.device === "gpu" ? `GPU: ${info.deviceDescription}` : `CPU: ${info.deviceDescription}`],
    ["Memory", `${formatBytes(memory.weights + memory.caches + memory.slots + memory.arena)} on the device`],
    ["", `${formatBytes(memory.weights)} weights${slots}`],
    ["", `${formatBytes(memory.caches)} cache, ${formatBytes(memory.arena)} for sums in progress`],
  ];
  const rows = facts.flatMap(([name, value]) => [...(name ? [h("dt", {}, name)] : []), h("dd", {}, value)]);
  list.replaceChildren(...rows);
}

function expertFacts({ experts, top, recordBytes, expertBytes }: ModelInfo): readonly Fact[] {
  if (experts === 0) return [["Experts", "none: every token runs through all weights"]];
  return [
    ["Experts", `${experts} in each layer, ${top} asked per token`],
    ["One expert", formatBytes(recordBytes)],
    ["All experts", formatBytes(expertBytes)],
  ];
}
