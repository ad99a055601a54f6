/**
 * `node bench/heap.mjs [--format bf16|mlx] [--megabytes 512]` (after `npm run build:lib`): measures
 * the peak JS heap of the engine's worker, including ArrayBuffers, while a generated Mixtral loads
 * by Range requests in headless Chromium. The model's bytes are computed when they are requested
 * and are never stored here.
 */

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright";
import { CHROMIUM_FLAGS, findChromium } from "../test/support/chromium.mjs";

const { values } = parseArgs({
  options: { format: { type: "string", default: "bf16" }, megabytes: { type: "string", default: "512" } },
});
const root = join(import.meta.dirname, "..");
const [WIDTH, HIDDEN, EXPERTS, VOCABULARY, GROUP] = [1024, 3584, 8, 2048, 64];
const MIB = 1024 * 1024;

/** The tensors of the model in the order of the file, each as name, dtype and shape. */
function tensors(layers) {
  const list = [];
  const linear = (module, rows, columns) => {
    if (values.format === "bf16") return list.push([`${module}.weight`, "BF16", [rows, columns]]);
    list.push([`${module}.weight`, "U32", [rows, columns / 8]]);
    for (const part of ["scales", "biases"]) list.push([`${module}.${part}`, "BF16", [rows, columns / GROUP]]);
  };
  list.push(["model.embed_tokens.weight", "BF16", [VOCABULARY, WIDTH]]);
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}`;
    for (const norm of ["input_layernorm", "post_attention_layernorm"])
      list.push([`${prefix}.${norm}.weight`, "BF16", [WIDTH]]);
    for (const part of ["q_proj", "k_proj", "v_proj", "o_proj"]) linear(`${prefix}.self_attn.${part}`, WIDTH, WIDTH);
    list.push([`${prefix}.block_sparse_moe.gate.weight`, "BF16", [EXPERTS, WIDTH]]);
    for (let expert = 0; expert < EXPERTS; expert++) {
      linear(`${prefix}.block_sparse_moe.experts.${expert}.w1`, HIDDEN, WIDTH);
      linear(`${prefix}.block_sparse_moe.experts.${expert}.w2`, WIDTH, HIDDEN);
      linear(`${prefix}.block_sparse_moe.experts.${expert}.w3`, HIDDEN, WIDTH);
    }
  }
  list.push(["model.norm.weight", "BF16", [WIDTH]]);
  return list;
}

/** The header and the length of a model file of at least `megabytes`. */
function file() {
  for (let layers = 1; ; layers++) {
    const header = {};
    let at = 0;
    for (const [name, dtype, shape] of tensors(layers)) {
      const bytes = shape.reduce((product, size) => product * size, dtype === "U32" ? 4 : 2);
      header[name] = { dtype, shape, data_offsets: [at, at + bytes] };
      at += bytes;
    }
    if (at < Number(values.megabytes) * MIB) continue;
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    return { layers, head: Buffer.concat([length, json]), bytes: 8 + json.length + at };
  }
}

/**
 * 64 KiB of small bf16 numbers, of which the model's data are repetitions. Their bytes are harmless
 * as quantised words, scales and floats alike.
 */
const block = Buffer.alloc(65536);
for (let i = 0, state = 1; i < block.length; i += 2) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  block.writeUInt16LE(((state >>> 31) << 15) | 0x3c00 | ((state >>> 16) & 0x7f), i);
}

const { layers, head, bytes: fileBytes } = file();
const config = {
  model_type: "mixtral",
  hidden_size: WIDTH,
  intermediate_size: HIDDEN,
  num_hidden_layers: layers,
  num_attention_heads: 16,
  num_key_value_heads: 16,
  num_local_experts: EXPERTS,
  num_experts_per_tok: 2,
  vocab_size: VOCABULARY,
  max_position_embeddings: 256,
  sliding_window: null,
  tie_word_embeddings: true,
  eos_token_id: 2,
  ...(values.format === "mlx" ? { quantization: { group_size: GROUP, bits: 4 } } : {}),
};

function serveModel(request, response) {
  const [, begin, end] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "").map(Number);
  response.writeHead(206, { "content-length": end - begin + 1, "content-range": `bytes ${begin}-${end}/${fileBytes}` });
  let at = begin;
  const write = () => {
    while (at <= end) {
      const piece =
        at < head.length
          ? head.subarray(at, Math.min(head.length, end + 1))
          : block.subarray(
              (at - head.length) % block.length,
              ((at - head.length) % block.length) +
                Math.min(end + 1 - at, block.length - ((at - head.length) % block.length)),
            );
      at += piece.length;
      if (!response.write(piece)) return response.once("drain", write);
    }
    response.end();
  };
  write();
}

const story = join(root, "demo/public/models/storyteller-moe");
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://x");
  if (pathname === "/")
    return response.setHeader("content-type", "text/html").end("<!doctype html><title>heap</title>");
  if (pathname.startsWith("/lib/")) {
    response.setHeader("content-type", "text/javascript");
    return response.end(readFileSync(join(root, "dist", pathname)));
  }
  if (pathname === "/model/config.json") return response.end(JSON.stringify(config));
  if (pathname === "/model/model.safetensors") return serveModel(request, response);
  if (/^\/model\/(tokenizer|tokenizer_config)\.json$/.test(pathname))
    return response.end(readFileSync(join(story, pathname.slice(7))));
  response.writeHead(404).end();
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const { port } = server.address();

const browser = await chromium.launch({ executablePath: findChromium(), args: CHROMIUM_FLAGS });
const page = await (await browser.newContext()).newPage();
const session = await page.context().newCDPSession(page);
let nextId = 1;
const pending = new Map();
let worker;
session.on("Target.attachedToTarget", ({ sessionId, targetInfo }) => {
  if (targetInfo.type === "worker") worker ??= sessionId;
});
session.on("Target.receivedMessageFromTarget", ({ message }) => {
  const { id, result } = JSON.parse(message);
  pending.get(id)?.(result);
  pending.delete(id);
});
await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });

/** The heap of the worker (Runtime.getHeapUsage): V8's heap and the memory of ArrayBuffers. */
async function heap() {
  if (!worker) return undefined;
  const id = nextId++;
  const answer = new Promise((resolve) => pending.set(id, resolve));
  await session.send("Target.sendMessageToTarget", {
    sessionId: worker,
    message: JSON.stringify({ id, method: "Runtime.getHeapUsage" }),
  });
  const usage = await answer;
  return usage && { heap: usage.usedSize, buffers: usage.backingStorageSize };
}

await page.goto(`http://127.0.0.1:${port}/`);
const loading = page.evaluate(async () => {
  const { createEngine } = await import("/lib/mixtab.js");
  let last;
  await new Promise((done, failed) => {
    createEngine(new URL("/model/", location.href).href, {
      budgetBytes: 64 * 1024 * 1024,
      contextLength: 64,
      onProgress: (progress) => {
        last = progress;
        if (progress.phase === "done" || progress.warning) done();
      },
    }).then((engine) => {
      globalThis.engine = engine;
    }, failed);
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  const { recordBytes, denseBytes, expertBytes, device } = globalThis.engine.info;
  return { recordBytes, denseBytes, expertBytes, device, last };
});
let settled = false;
loading
  .finally(() => {
    settled = true;
  })
  .catch(() => {});

let baseline;
let peak = 0;
let peakUsage;
let samples = 0;
while (!settled) {
  const usage = await heap();
  if (usage) {
    const total = usage.heap + usage.buffers;
    baseline ??= total;
    if (total > peak) {
      peak = total;
      peakUsage = usage;
    }
    samples++;
  }
  await new Promise((resolve) => setTimeout(resolve, 10));
}
const info = await loading;
await browser.close();
server.close();

const mib = (bytes) => `${(bytes / MIB).toFixed(1)} MiB`;
const densePiece = Math.min(64 * MIB, VOCABULARY * WIDTH * 2);
const bound = densePiece + Math.max(2 * info.recordBytes, 32 * MIB);
console.log(
  `${values.format}, ${layers} layers, file ${mib(fileBytes)}, records of ${mib(info.recordBytes)}, on ${info.device}, ended ${JSON.stringify(info.last)}`,
);
console.log(
  `baseline ${mib(baseline)}, peak ${mib(peak)}, above it ${mib(peak - baseline)} (bound ${mib(bound)}); at the peak V8 ${mib(peakUsage.heap)}, ArrayBuffers ${mib(peakUsage.buffers)}; ${samples} samples`,
);
process.exitCode = peak - baseline <= bound ? 0 : 1;
