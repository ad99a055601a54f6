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
import { testAtenia } from "../support/goldens.ts";
test("bg", async () => { await gpuSpeaker().then((s) => checkModel(s, httpSource(`${fixture("storyteller-moe/mlx-4bit")}/`), { chunk: 256, thorough: true })); }, 9000);

testAtenia({ speaker: async () => {
    const speaker = await gpuSpeaker();
    const log = (x: string) => console.log(x);
    log("NEW SPEAKER");
    const record = speaker.record.bind(speaker);
    Object.assign(speaker, { record: (...a: Parameters<typeof record>) => {
      const plan = record(...a);
      log(`record ${a[0]} ${a[1]} end ${plan.end}`);
      return { ...plan, run: async (...r: Parameters<typeof plan.run>) => { const x = await plan.run(...r); log(`run seq ${r[0].seq} pos ${r[0].position} n ${r[0].count} ${r[1]}-${r[2]} seq ${x.seq} began ${x.began} stall ${x.stall} pend ${members(x.pending)} wanted ${x.wanted.map(members).join("/")}`); return x; } };
    }});
    const slots = speaker.slots.bind(speaker);
    Object.assign(speaker, { slots: (...a: Parameters<typeof slots>) => { const s = slots(...a); log(`slots ${a}`); return { ...s, write: (n: number, b: Uint8Array<ArrayBuffer>) => { log(`write ${n} ${b.length}`); s.write(n, b); }, own: (n: number, o: number) => { log(`own ${n} ${o}`); s.own(n, o); }, map: (l: number, e: number, n: number) => { log(`map ${l} ${e} ${n}`); s.map(l, e, n); } }; } });
    return speaker;
}, open: null as never, bytes: async (file: string) => new Uint8Array(await (await fetch(fixture(file))).arrayBuffer()) }, 1e-3);
