import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readLanguage } from "../../src/engine/language.ts";
import { loadModel } from "../../src/engine/load.ts";
import { Session } from "../../src/engine/session.ts";
import { openSpeaker } from "../device.ts";
import { openArgument } from "../model_argument.ts";
import { measure } from "../perplexity/measure.ts";
import { compareExactly, compareNumbers, compareText, type Line } from "./comparison.ts";
import { type Kind, NotInstalled } from "./kind.ts";
import { GREEDY, TOLERANCES } from "./model_golden.ts";

/**
 * What a reference implementation computed for a published model. The golden does not come with the
 * model's weights.
 */
interface Dialogues {
  readonly prompts: readonly {
    readonly name: string;
    readonly messages: readonly { readonly role: "system" | "user" | "assistant"; readonly content: string }[];
    readonly prompt_text: string;
    readonly prompt_ids: readonly number[];
    /** The largest logits after the prompt, each as [id, logit]. */
    readonly best_logits: readonly (readonly [id: number, logit: number])[];
    readonly greedy_ids: readonly number[];
    readonly greedy_text: string;
  }[];
  readonly perplexity: {
    readonly text: string;
    readonly ids: readonly number[];
    readonly transformers_float32: number;
  };
}

/** Relative. Perplexities of the same logits, added up in different order, differ by far less. */
const PERPLEXITY_TOLERANCE = 1e-3;

/**
 * Goldens of conversations with a published model, which `--model` names. Compared are prompts as
 * the model's template renders them, the best logits after them, greedy answers word for word, and
 * the perplexity of a text. Weights are never quantised.
 */
export const dialogues: Kind = {
  looksLike: "a golden.json of conversations (with --model)",
  recognises: (path) => read(path) !== undefined,

  async *check(path, { device, slots, chunk, model }) {
    const golden = read(path)!;
    if (model === undefined)
      throw new NotInstalled("its weights are published elsewhere: name a folder of them with --model");
    const { prompts, perplexity } = golden;
    const speaker = await openSpeaker(device);
    try {
      const lengths = prompts.map(({ prompt_ids, greedy_ids }) => prompt_ids.length + greedy_ids.length);
      const loaded = await loadModel(speaker, openArgument(model).source, null, {
        quantize: false,
        slots,
        contextLength: Math.max(...lengths, perplexity.ids.length),
      });
      const language = readLanguage(loaded.repository);
      for (const prompt of prompts) {
        yield compareText(`${prompt.name}: prompt`, language.render(prompt.messages), prompt.prompt_text);
        yield* await answer(prompt);
      }
      const text = language.tokenizer.decode(perplexity.ids, { skipSpecialTokens: false });
      yield compareText("perplexity: text", text, perplexity.text);
      const measured = await measure({ speaker, loaded }, [{ ids: perplexity.ids, from: 1 }]);
      const [got, want] = [measured.perplexity, perplexity.transformers_float32];
      yield compareNumbers("perplexity", [got / want], [1], 1, PERPLEXITY_TOLERANCE / 2);

      async function answer(prompt: Dialogues["prompts"][number]): Promise<Line[]> {
        const { name, prompt_ids, best_logits, greedy_ids, greedy_text } = prompt;
        let last: Float32Array | undefined;
        const session = new Session(speaker, loaded, {
          ...(chunk ? { chunk } : {}),
          taps: "all",
          onTaps: (taps, count) => {
            const logits = taps.get("logits") as Float32Array;
            last = logits.subarray((logits.length / count) * (count - 1));
          },
        });
        let { token } = await session.prefill(prompt_ids, GREEDY);
        const got = best_logits.map(([id]) => last?.[id] ?? Number.NaN);
        const ids = [token];
        while (!language.stopIds.has(token) && ids.length < greedy_ids.length) {
          ({ token } = await session.decode(token, GREEDY));
          ids.push(token);
        }
        // Some goldens show the token that ended the answer.
        const [whole, spoken] = [false, true].map((skipSpecialTokens) =>
          language.tokenizer.decode(ids, { skipSpecialTokens }).trim(),
        );
        const text = whole === greedy_text.trim() ? whole : spoken!;
        return [
          compareExactly(`${name}: prompt ids`, language.prompt(prompt.messages).ids, prompt_ids),
          compareNumbers(
            `${name}: best logits`,
            got,
            best_logits.map(([, logit]) => logit),
            1,
            TOLERANCES[device],
          ),
          compareExactly(`${name}: greedy ids`, ids, greedy_ids),
          compareText(`${name}: text`, text, greedy_text.trim()),
        ];
      }
    } finally {
      speaker.close();
    }
  },
};

/** The golden at a path, or in the folder at that path; undefined if there is none of this kind. */
function read(path: string): Dialogues | undefined {
  const file = path.endsWith(".json") ? path : join(path, "golden.json");
  if (!existsSync(file)) return undefined;
  try {
    const json = JSON.parse(readFileSync(file, "utf8")) as Partial<Dialogues> | null;
    return json?.prompts && json.perplexity ? (json as Dialogues) : undefined;
  } catch {
    return undefined;
  }
}
