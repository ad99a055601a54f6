import { test } from "vitest";
import { checkModel } from "../../cli/model_golden.ts";
import { loadModel } from "../../src/engine/load.ts";
import { Session } from "../../src/engine/session.ts";
import { gpuSpeaker } from "../../src/ops/gpu.ts";
import { members } from "../../src/base/bits.ts";
import { memorySource } from "../../src/source/memory.ts";
import { httpSource } from "../../src/source/http.ts";
const fixture = (path: string) => new URL(`/test/fixtures/${path}`, location.href).href;
const bytes = async (file: string) => new Uint8Array(await (await fetch(fixture(file))).arrayBuffer());
const GREEDY = { temperature: 0, topK: 0, topP: 1, seed: 0 };
test("bg", async () => { await gpuSpeaker().then((s) => checkModel(s, httpSource(`${fixture("storyteller-moe/mlx-4bit")}/`), { chunk: 256, thorough: true })); }, 40000);
test("two", async () => {
  let first = '';
  for (let round = 0; round < 60 && performance.now() < 130000; round++) {
    const log: string[] = [];
    const speaker = await gpuSpeaker();
    const record = speaker.record.bind(speaker);
    Object.assign(speaker, { record: (...a: Parameters<typeof record>) => {
      const plan = record(...a);
      return { ...plan, run: async (...r: Parameters<typeof plan.run>) => { const x = await plan.run(...r); log.push(`run ${r[1]}-${r[2]} began ${x.began} stall ${x.stall} pend ${members(x.pending)} wanted ${x.wanted.map(members).join("/")}`); return x; } };
    }});
    const slots = speaker.slots.bind(speaker);
    Object.assign(speaker, { slots: (...a: Parameters<typeof slots>) => { const s = slots(...a); log.push(`slots ${a}`); return { ...s, write: (n: number, b: Uint8Array<ArrayBuffer>) => { log.push(`write ${n} ${b.length}`); s.write(n, b); }, own: (n: number, o: number) => { log.push(`own ${n} ${o}`); s.own(n, o); }, map: (l: number, e: number, n: number) => { log.push(`map ${l} ${e} ${n}`); s.map(l, e, n); } }; } });
    try {
      const files = { "config.json": await bytes("atenia/mixtral_tiny_config.json"), "model.safetensors": await bytes("atenia/full_mixtral.safetensors") };
      const loaded = await loadModel(speaker, memorySource(files), null, { quantize: false, contextLength: 64 });
      const session = new Session(speaker, loaded, { taps: "all", onTaps: () => {} });
      const r = await session.prefill([22, 25, 29, 3], GREEDY);
      log.push(`token ${r.token}`);
      session.reset(); session.reuse([22, 25, 29]);
      let { token } = await session.prefill([22, 25, 29], GREEDY); const ids = [token];
      while (ids.length < 6) { ({ token } = await session.decode(token, GREEDY)); ids.push(token); }
      log.push(`ids ${ids}`);
    } catch (e) { log.push(String(e)); }
    const text = log.join("\n"); if (!first) first = text; console.log(round, performance.now() | 0, log.filter((l) => /ids|Error|mixtab/.test(l)).join(" ")); if (text !== first) { console.log("DIFFERENT", text); break; }
    speaker.close();
  }
}, 300000);
