/** Mutated files: headers, indexes, configs, tokenizers and templates. */
import { readLanguage } from "../../src/engine/language.ts";
import type { Repository } from "../../src/engine/repository.ts";
import { parseSafetensorsHeader } from "../../src/format/safetensors.ts";
import { givenFiles } from "../../src/source/given_files.ts";
import { openFiles } from "../../src/source/open_model.ts";
import { loadChatTemplate } from "../../src/text/chat_template.ts";
import { Draw } from "./draw.ts";
import { Tally, Wrong } from "./tally.ts";
import { answerOf, fixtureText, tinyFiles } from "./tiny_model.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

/** The bits of an element, as the format's documentation has them. */
const BITS: Readonly<Record<string, number>> = { BOOL: 8, U8: 8, I8: 8, F16: 16, BF16: 16, U32: 32, F32: 32, F64: 64 };

/** A safetensors file of these tensors, whose data are zeros. */
function safetensors(tensors: Readonly<Record<string, readonly [string, readonly number[]]>>): Uint8Array<ArrayBuffer> {
  let at = 0;
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  for (const [name, [dtype, shape]] of Object.entries(tensors)) {
    const bytes = (shape.reduce((product, size) => product * size, 1) * BITS[dtype]!) / 8;
    header[name] = { dtype, shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  return withHeader(JSON.stringify(header), at);
}

function withHeader(header: string, dataBytes: number): Uint8Array<ArrayBuffer> {
  const text = utf8(header);
  const file = new Uint8Array(8 + text.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

const SMALL = safetensors({
  a: ["F32", [2, 3]],
  "b.weight": ["BF16", [4]],
  c: ["U8", []],
  "d.scales": ["F16", [0, 5]],
});

/** Whatever is taken for a header must say what JSON.parse finds in it, and cover the file once. */
function checkHeader(file: Uint8Array<ArrayBuffer>): void {
  const { tensors } = parseSafetensorsHeader(file, file.length);
  const dataBegin = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
  const told = JSON.parse(new TextDecoder().decode(file.subarray(8, dataBegin))) as Record<string, never>;
  const names = Object.keys(told).filter((name) => name !== "__metadata__");
  if (names.length !== tensors.size) throw new Wrong(`${tensors.size} tensors of ${names.length}`);
  let at = dataBegin;
  for (const [name, { dtype, shape, begin, end }] of [...tensors].sort(
    ([, a], [, b]) => a.begin - b.begin || a.end - b.end,
  )) {
    const { dtype: type, shape: sizes, data_offsets: offsets } = told[name]! as Record<string, unknown>;
    const said = JSON.stringify([type, sizes, offsets]);
    if (said !== JSON.stringify([dtype, shape, [begin - dataBegin, end - dataBegin]]))
      throw new Wrong(`${name}: ${said}`);
    const bits = BITS[dtype];
    const elements = shape.reduce((product, size) => product * size, 1);
    if (bits !== undefined && elements * bits !== (end - begin) * 8) throw new Wrong(`${name} has another size`);
    if (begin !== at) throw new Wrong(`${name} begins at ${begin}, not at ${at}`);
    at = end;
  }
  if (at !== file.length) throw new Wrong(`bytes from ${at} on belong to no tensor`);
}

export async function headers(cases: number, seed: number): Promise<Tally> {
  const tally = new Tally("safetensors headers");
  const dataBegin = 8 + Number(new DataView(SMALL.buffer).getBigUint64(0, true));
  const json = JSON.parse(new TextDecoder().decode(SMALL.subarray(8, dataBegin))) as unknown;
  for (let index = 0; index < cases; index++) {
    const draw = new Draw(seed + index);
    const whole = () => withHeader(draw.jsonText(json), SMALL.length - dataBegin);
    await tally.run(`${seed + index}`, () => checkHeader(draw.chance(0.5) ? draw.bytes(SMALL) : whole()));
  }
  return tally;
}

/** What an index leads to must be what the headers of the files say. */
export async function indexes(cases: number, seed: number): Promise<Tally> {
  const tally = new Tally("index JSON");
  const [one, two] = [safetensors({ a: ["F32", [2]], b: ["U8", [3]] }), safetensors({ c: ["F16", [5]] })];
  const shards = { "model-1.safetensors": one, "model-2.safetensors": two };
  const index = {
    metadata: { total_size: 21 },
    weight_map: { a: "model-1.safetensors", b: "model-1.safetensors", c: "model-2.safetensors" },
  };
  for (let at = 0; at < cases; at++) {
    const text = new Draw(seed + at).jsonText(index);
    const files = { ...shards, "config.json": utf8("{}"), "model.safetensors.index.json": utf8(text) };
    await tally.run(`${seed + at}`, async () => {
      for (const [file, tensors] of (await openFiles(givenFiles(files))).shards) {
        const bytes = shards[file as keyof typeof shards];
        if (!bytes) throw new Wrong(`${file} was never given`);
        const own = parseSafetensorsHeader(bytes, bytes.length).tensors;
        for (const [name, entry] of tensors)
          if (JSON.stringify(own.get(name)) !== JSON.stringify(entry)) throw new Wrong(`${name} of ${file}`);
      }
    });
  }
  return tally;
}

/** Models with another config.json than their own: each is refused, or runs. */
export async function configs(cases: number, seed: number): Promise<Tally> {
  const tally = new Tally("config.json, loaded and run");
  const files = await tinyFiles();
  const own = JSON.parse(new TextDecoder().decode(files["config.json"])) as unknown;
  for (let at = 0; at < cases; at++) {
    const text = new Draw(seed + at).jsonText(own);
    await tally.run(`${seed + at}`, () => answerOf(givenFiles({ ...files, "config.json": utf8(text) }), null));
  }
  return tally;
}

/** Damaged weights: a whole load of a file whose header is another. */
export async function weights(cases: number, seed: number): Promise<Tally> {
  const tally = new Tally("headers of a model, loaded and run");
  const files = await tinyFiles();
  const file = files["model.safetensors"]!;
  const dataBegin = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
  const json = JSON.parse(new TextDecoder().decode(file.subarray(8, dataBegin))) as unknown;
  for (let at = 0; at < cases; at++) {
    const header = new Draw(seed + at).jsonText(json);
    const changed = withHeader(header, file.length - dataBegin);
    changed.set(file.subarray(dataBegin), changed.length - (file.length - dataBegin));
    await tally.run(`${seed + at}`, () => answerOf(givenFiles({ ...files, "model.safetensors": changed }), null));
  }
  return tally;
}

const TALK = [
  { role: "user" as const, content: "Hello, wörld 🙂 <s>" },
  { role: "assistant" as const, content: "Once" },
  { role: "user" as const, content: "" },
];

/** Tokenizers and their settings: each is refused, or turns texts into whole numbers and back. */
export async function tokenizers(cases: number, seed: number): Promise<Tally> {
  const tally = new Tally("tokenizer texts");
  const texts = {
    "tokenizer.json": fixtureText("tokenizers/stories260k/tokenizer.json"),
    "tokenizer_config.json": fixtureText("storyteller-moe/mlx-4bit/tokenizer_config.json"),
    "generation_config.json": fixtureText("storyteller-moe/mlx-4bit/generation_config.json"),
    "chat_template.jinja": fixtureText("storyteller-moe/mlx-4bit/chat_template.jinja"),
  };
  const parsed = Object.fromEntries(
    Object.entries(texts).map(([file, text]) => [file, file.endsWith(".json") ? JSON.parse(text) : text]),
  ) as Record<string, unknown>;
  const outline = { ...(parsed["tokenizer.json"] as { model: object }) };
  for (let at = 0; at < cases; at++) {
    const draw = new Draw(seed + at);
    const file = draw.pick(["tokenizer.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]);
    // Half of the places of a tokenizer lie in its outline, which is a thousandth of its text.
    const isOutline = file === "tokenizer.json" && draw.chance(0.7);
    const text = isOutline ? withOutline(draw, outline) : draw.jsonText(parsed[file]);
    await tally.run(`${seed + at}`, () => {
      const repository = { texts: { ...texts, [file]: text }, config: {} } as unknown as Repository;
      const language = readLanguage(repository);
      const { ids } = language.prompt(TALK);
      if (!ids.every((id) => Number.isSafeInteger(id) && id >= 0)) throw new Wrong(`ids ${ids.join(" ")}`);
      const { tokenizer } = language;
      const stream = tokenizer.stream({ skipSpecialTokens: true });
      const words = [...ids, -1, 1e9].map((id) => stream.push(id)).join("") + stream.flush();
      if (typeof words !== "string" || typeof tokenizer.decode(ids, { skipSpecialTokens: false }) !== "string")
        throw new Wrong("no text");
    });
  }
  return tally;
}

function withOutline(draw: Draw, { model, ...rest }: { model: object }): string {
  const { vocab, merges, ...inner } = model as Record<string, unknown>;
  const text = draw.jsonText({ ...rest, model: { ...inner, vocab: "@V", merges: "@M" } });
  return text.replace('"@V"', JSON.stringify(vocab)).replace('"@M"', JSON.stringify(merges));
}

/** Templates: each is refused, or renders a text. */
export async function templates(cases: number, seed: number): Promise<Tally> {
  const tally = new Tally("chat templates");
  const names = ["chatml", "mixtral-instruct", "olmoe-instruct", "qwen3", "mistral-v3"];
  const sources = names.map((name) => fixtureText(`chat_templates/${name}.jinja`));
  for (let at = 0; at < cases; at++) {
    const draw = new Draw(seed + at);
    const source = draw.text(draw.pick(sources));
    await tally.run(`${seed + at}`, () => {
      const template = loadChatTemplate(source, { bosToken: "<s>", eosToken: "</s>" });
      if (typeof template.render(TALK, { addGenerationPrompt: true }) !== "string") throw new Wrong("no text");
    });
  }
  return tally;
}
