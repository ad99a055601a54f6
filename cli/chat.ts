/**
 * `npm run chat -- "Tell me a story about a dog."`: prints one answer. The model runs on Dawn if
 * that finds an adapter, else on the CPU.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { MixtabError } from "../src/base/errors.ts";
import { openEngine } from "../src/engine/engine.ts";
import { dawn } from "./dawn.ts";
import { openArgument } from "./model_argument.ts";
import { formatBytes, parseBytes, runCommand } from "./shell.ts";

const USAGE = `npm run chat -- MESSAGE [--model URL_OR_DIR] [--budget 2GB] [--device auto|gpu|cpu]
               [--temperature N] [--top-p N] [--seed N] [--max-tokens N] [--prefetch] [--trace FILE.csv]`;

/** The storytelling model that comes with the project. */
const STORY_MODEL = "demo/public/models/storyteller-moe";

const parseBudget = (text: string): number | "auto" => (text === "auto" ? "auto" : parseBytes(text));

await runCommand(async (args) => {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      model: { type: "string", default: STORY_MODEL },
      budget: { type: "string" },
      device: { type: "string", default: "auto" },
      temperature: { type: "string" },
      "top-p": { type: "string" },
      seed: { type: "string" },
      "max-tokens": { type: "string" },
      prefetch: { type: "boolean", default: false },
      trace: { type: "string" },
    },
  });
  const content = positionals.join(" ");
  if (content.trim() === "") throw new MixtabError("empty-prompt", `There is no message.\n${USAGE}`);
  const device = values.device;
  if (device !== "auto" && device !== "gpu" && device !== "cpu")
    throw new MixtabError("bad-request", `--device is auto, gpu or cpu, not ${device}.`);

  const gpu = device === "cpu" ? undefined : await dawn({ software: device === "gpu" });
  const number = (text: string | undefined) => (text === undefined ? null : Number(text));
  const engine = await openEngine(
    { ...openArgument(values.model), gpu },
    {
      device,
      prefetch: values.prefetch,
      trace: values.trace !== undefined,
      ...(values.budget === undefined ? {} : { budgetBytes: parseBudget(values.budget) }),
    },
  );
  const { info } = engine;
  console.error(
    `${info.id} on ${info.deviceDescription}, ${info.slots} of ${info.layers * info.experts} experts resident at most`,
  );

  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  const chunks = await engine.chat.completions.create(
    {
      messages: [{ role: "user", content }],
      stream: true,
      stream_options: { include_usage: true },
      temperature: number(values.temperature),
      top_p: number(values["top-p"]),
      seed: number(values.seed),
      max_tokens: number(values["max-tokens"]),
    },
    { signal: stop.signal },
  );
  const began = performance.now();
  try {
    for await (const { choices, usage } of chunks) {
      // The reasoning goes to stderr, so that a pipe has the answer alone.
      process.stderr.write(choices[0]?.delta.reasoning_content ?? "");
      process.stdout.write(choices[0]?.delta.content ?? "");
      if (!usage) continue;
      const { decode } = usage.mixtab;
      const seconds = (performance.now() - began) / 1000;
      process.stdout.write("\n");
      console.error(
        `${usage.completion_tokens} tokens, ${(usage.completion_tokens / seconds).toFixed(1)} tokens/s; while answering: ` +
          `${decode.hits} experts hit, ${decode.misses} missed, ${formatBytes(decode.uploadedBytes)} read, ${decode.passes} passes`,
      );
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    process.stdout.write("\n");
  }
  if (values.trace !== undefined) {
    await writeFile(values.trace, await engine.trace());
    console.error(`The routes are in ${values.trace}: npm run analyse -- ${values.trace}`);
  }
  await engine.close();
  return 0;
});
