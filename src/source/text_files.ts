import { MixtabError } from "../base/errors.ts";

/** Texts without which no model opens. All others are optional: a model may well lack them. */
const REQUIRED: readonly string[] = ["config.json", "tokenizer.json"];

/** Whether a model may be without a text: index, template and settings. */
export const isOptional = (file: string): boolean => !REQUIRED.includes(file);

const MIB = 1024 * 1024;
/** Twice the largest published, Gemma 3's of 33 MB for 262,144 tokens. */
const MAX_TOKENIZER_BYTES = 64 * MIB;
/** About 100 bytes per tensor: a thousand experts in each of a hundred layers. */
const MAX_INDEX_BYTES = 32 * MIB;
/** Published templates, those with tools included, have up to 20 KB. */
const MAX_TEMPLATE_BYTES = MIB;
/** A config.json has some KB; a tokenizer_config.json that lists its added tokens up to 2 MB. */
const MAX_JSON_BYTES = 4 * MIB;

/** The longest text that is read, in bytes. */
function limitOf(file: string): number {
  if (/(^|\/)tokenizer\.json$/.test(file)) return MAX_TOKENIZER_BYTES;
  if (file.endsWith(".index.json")) return MAX_INDEX_BYTES;
  return file.endsWith(".jinja") ? MAX_TEMPLATE_BYTES : MAX_JSON_BYTES;
}

/** Refuses a text of so many bytes if that is more than its limit. Errors: too-large. */
export function checkTextBytes(file: string, bytes: number): void {
  const limit = limitOf(file);
  if (!(bytes > limit)) return;
  throw new MixtabError(
    "too-large",
    `${file} has ${bytes} bytes or more, and at most ${limit} are read. Check that it is the model's own file.`,
  );
}

/** A text from its bytes as they arrive; the limit holds while they do. Errors: too-large. */
export async function readText(file: string, pieces: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const piece of pieces) {
    bytes += piece.length;
    checkTextBytes(file, bytes);
    text += decoder.decode(piece, { stream: true });
  }
  return text + decoder.decode();
}
